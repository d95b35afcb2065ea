"""What users test their agents with: model servers on loopback that say what the test wants.

``ScriptedServer`` speaks real HTTP and SSE as vLLM does, ``EchoServer`` repeats the user, ``ReplayServer`` answers
with recorded bytes, ``ModelStudioServer`` stands in for the cloud service, ``ChaosServer`` does what broken servers do.
See docs/testing.md.
"""

from qianda.testing.chaos import ChaosServer
from qianda.testing.http_server import Request
from qianda.testing.modelstudio import ModelStudioServer
from qianda.testing.replay import Recording, ReplayServer
from qianda.testing.script import Call, Fault, Says, Turn, TurnFunction, echo
from qianda.testing.scripted import EchoServer, ScriptedServer
from qianda.testing.threads import serving

__all__ = [
    "Call",
    "ChaosServer",
    "EchoServer",
    "Fault",
    "ModelStudioServer",
    "Recording",
    "ReplayServer",
    "Request",
    "Says",
    "ScriptedServer",
    "Turn",
    "TurnFunction",
    "echo",
    "serving",
]
