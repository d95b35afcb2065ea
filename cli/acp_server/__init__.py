"""Qianda as an agent of the Agent Client Protocol: what editors ask becomes runs, whose events editors show."""
