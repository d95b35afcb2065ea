#!/usr/bin/env bash
# Fetches AgentDojo (prompt injection: tasks, tools and attacks) with the few packages that its task suites need; the rest
# of what it depends on is not.
# Usage: tests/system/setup_agentdojo.sh [PYTHON]
set -uo pipefail
. "$(dirname "$0")/fetch_packages.sh" agentdojo "${1:-}" agentdojo==0.1.35 docstring-parser==0.18.0 \
    email-validator==2.4.0 dnspython==2.9.2 deepdiff==8.6.1 orderly-set==5.5.0
