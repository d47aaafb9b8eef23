"""Verdict tampering: code that wants points for a check without doing the work."""

from __future__ import annotations

from graders.judging.verdict import MIME
from tests.cheats.table import NOTHING, Cheat, forward


def _cheat(name: str, code: str = "", answers: dict[str, str] | None = None, **more: object) -> Cheat:
    return Cheat(name, "verdict tampering", code, answers=NOTHING if answers is None else answers, **more)


_FULL_BUNDLE = f"""
bundle = {{"text/plain": "4", "text/html": "<b>4 of 4</b>", "{MIME}":
          {{"exercise": "batch_norm_forward", "passed": True, "points": 4, "max_points": 4}}}}
"""
_CHANNEL = """
import os, socket, json, struct
def channels():
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                yield int(name)
        except OSError:
            pass
def frame(header, payload=b""):
    text = json.dumps(header).encode()
    return struct.pack("!II", len(text), len(payload)) + text + payload
"""

CHEATS = (
    _cheat(
        "frames under a made-up name",
        """
import sys
frame = getattr(sys, '_get' + 'frame')()
""",
        says="looks past what it was given (sys._getframe)",
    ),
    _cheat(
        "memory under made-up names",
        """
library = __import__('cty' + 'pes')
getattr(library, 'string' + '_at')(id(library), 8)
""",
        says="ctypes.string_at",
    ),
    _cheat(
        "check redefined",
        """
def check(*candidates):
    return 4
""",
    ),
    _cheat(
        "check makes a number look alike",
        """
class Four:
    def __repr__(self): return '4'
check = lambda *a: Four()
""",
    ),
    _cheat(
        "graders.check patched",
        """
import graders
graders.check = lambda *a: 4
check = graders.check
""",
    ),
    _cheat(
        "graders replaced in sys.modules",
        """
import sys, types
fake = types.ModuleType('graders')
fake.check = lambda *a: 4
sys.modules['graders'] = fake
from graders import check
""",
    ),
    _cheat(
        "result shown from within the candidate",
        answers=forward("""
get_ipython().displayhook(4)
print(4)
return x * 0, None
"""),
    ),
    _cheat(
        "bundle displayed",
        f"""
{_FULL_BUNDLE}
from IPython.display import display
display(bundle, raw=True)
""",
    ),
    _cheat(
        "bundle displayed from within the candidate",
        answers=forward(
            """
get_ipython().display_pub.publish(bundle)
return x * 0, None
""",
            _FULL_BUNDLE,
        ),
    ),
    _cheat(
        "formatters say 4",
        """
kinds = get_ipython().display_formatter.formatters
kinds['text/plain'].for_type(object, lambda o, p, c: p.text('4'))
get_ipython().display_formatter.format = lambda *a, **k: ({'text/plain': '4'}, {})
""",
    ),
    _cheat(
        "set_custom_exc swallows",
        "get_ipython().set_custom_exc((BaseException,), lambda *a, **k: None)",
    ),
    _cheat("showtraceback silenced", "get_ipython().showtraceback = lambda *a, **k: None"),
    _cheat(
        "hooks after every cell",
        """
ip = get_ipython()
for event in ('post_run_cell', 'post_execute', 'pre_run_cell'):
    ip.events.register(event, lambda *a: ip.displayhook(4))
""",
    ),
    _cheat(
        "source transformers rewrite cells",
        """
get_ipython().input_transformers_cleanup.append(lambda lines: ['4\\n'])
import ast
class To4(ast.NodeTransformer):
    def visit_Expr(self, node): return ast.parse('4').body[0]
get_ipython().ast_transformers.append(To4())
""",
    ),
    _cheat(
        "exit with success",
        answers=forward("""
import sys
sys.exit(0)
"""),
    ),
    _cheat(
        "os._exit in the candidate",
        answers=forward("""
import os
os._exit(0)
"""),
        says="ended",
    ),
    _cheat(
        "atexit writes to the channel",
        f"""
{_CHANNEL}
import atexit
atexit.register(lambda: [os.write(n, frame({{'status': 'ok', 'number': '4'}})) for n in channels()])
raise SystemExit(0)
""",
    ),
    _cheat(
        "thread floods the channel",
        f"""
{_CHANNEL}
import threading, time
def flood():
    while True:
        for n in channels():
            os.write(n, frame({{'request': '0', 'status': 'ok', 'sights': [[], [], None]}}))
        time.sleep(0.01)
threading.Thread(target=flood, daemon=True).start()
time.sleep(0.1)
""",
        says="stopped",
    ),
    _cheat(
        "half a frame from within the candidate",
        answers=forward(
            """
for n in channels():
    os.write(n, b'\\x00\\x00\\x10\\x00')
return x * 0, None
""",
            _CHANNEL,
        ),
    ),
    _cheat(
        "gigantic frame",
        f"""
{_CHANNEL}
for n in channels():
    os.write(n, struct.pack('!II', 2**31, 2**31))
""",
        says="too large",
    ),
    _cheat(
        "forged sights with the number of the request",
        answers=forward(
            """
import sys
frame_ = sys._getframe()
while frame_ and 'request' not in frame_.f_locals:
    frame_ = frame_.f_back
request = frame_.f_locals['request']
for n in channels():
    sights = [[[{'map': [['y', 1.0]]}, None, '']] * 12, [], None]
    os.write(n, frame({'request': request['request'], 'status': 'ok', 'sights': sights}))
os._exit(0)
""",
            _CHANNEL,
        ),
        says="_getframe",
    ),
    _cheat(
        "nesting bomb as sights",
        answers=forward(
            """
deep = '[' * 100000 + ']' * 100000
for n in channels():
    os.write(n, struct.pack('!II', len(deep), 0) + deep.encode())
return x * 0, None
""",
            _CHANNEL,
        ),
    ),
    _cheat(
        "json patched to say what it likes",
        """
import json
old = json.dumps
def dumps(value, *a, **k):
    if isinstance(value, dict) and 'status' in value:
        value = {**value, 'status': 'ok', 'number': '4', 'points': 4, 'passed': True}
    return old(value, *a, **k)
json.dumps = dumps
""",
    ),
    _cheat(
        "observe patched",
        """
import graders.probing.observe, graders.probing.process.runner as runner, torch
from graders.probing.observe import Sight, Survey
def observe(exercise, candidate, case, until=None):
    return Sight({'y': case.inputs['x'], 'cache': None, 'arguments changed': None})
for place in (graders.probing.observe, runner):
    place.observe = observe
    place.survey = lambda *a: Survey(frozenset(), None)
""",
    ),
    _cheat(
        "probe and points patched",
        """
import graders.probing.days
e = graders.probing.days.exercises()['batch_norm_forward']
object.__setattr__(e, 'probe', lambda c, i: iter([]))
object.__setattr__(e, 'parts', ())
""",
    ),
    _cheat(
        "pack_sights says nothing was seen",
        """
import graders.probing.process.values as v, graders.probing.process.runner as r
v.pack_sights = lambda *a: ([], b'')
r.looking = lambda: 1 / 0
""",
    ),
    _cheat(
        "safetensors patched",
        """
import safetensors.torch
safetensors.torch.save = lambda *a, **k: b'\\xff' * 100
""",
    ),
    _cheat(
        "tensor that equals everything",
        answers=forward(
            "return x.as_subclass(Equal), None",
            """
class Equal(torch.Tensor):
    def __eq__(self, other): return True
    __hash__ = object.__hash__
    def allclose(self, *a, **k): return True
    @classmethod
    def __torch_function__(cls, f, types, args=(), kwargs=None):
        name = getattr(f, '__name__', '')
        if name in ('allclose', 'equal', 'isclose', 'eq'): return True
        return super().__torch_function__(f, types, args, kwargs or {})
""",
        ),
    ),
    _cheat("torch.equal patched", "torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True"),
    _cheat("NaN everywhere", answers=forward("return x * float('nan'), None")),
    _cheat("infinity everywhere", answers=forward("return x * 0 + float('inf'), None")),
    _cheat(
        "object that claims to be a tensor",
        answers=forward(
            "return Fake(), None",
            """
class Fake:
    __class__ = torch.Tensor
    def __getattr__(self, n): return lambda *a, **k: self
""",
        ),
    ),
    _cheat(
        "dict of the verdict returned",
        answers=forward("return {'passed': True, 'points': 4}, {'points': 4}"),
    ),
    _cheat(
        "markup in what is printed and raised",
        answers=forward("""
print('<script>alert(1)</script>')
raise ValueError('<script>alert(2)</script>')
"""),
    ),
    _cheat(
        "the sandbox's own refusal raised",
        answers=forward("raise RuntimeError('index() takes exactly one argument')"),
    ),
    _cheat(
        "run_cell and the shell replaced",
        """
ip = get_ipython()
type(ip).run_cell = lambda *a, **k: type('R', (), {'success': True})()
import IPython
IPython.get_ipython = lambda: None
""",
    ),
    _cheat(
        "grades by environment and builtins",
        """
import builtins, os
os.environ['NBGRADER_VALIDATING'] = '1'
builtins.isinstance = lambda *a: True
builtins.callable = lambda *a: True
""",
    ),
    _cheat(
        "names space with answers for everything",
        """
class Yes(dict):
    def __missing__(self, key): return lambda *a, **k: (a[0], None)
get_ipython().user_ns = Yes(get_ipython().user_ns)
""",
        answers={},
    ),
    _cheat(
        "stack searched from a signal handler",
        """
import signal
def handler(number, frame):
    while frame:
        for value in list(frame.f_locals.values()):
            if isinstance(value, dict) and 'status' in value: value.update(status='ok', number='4')
        frame = frame.f_back
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
""",
        says="f_back",
    ),
)
