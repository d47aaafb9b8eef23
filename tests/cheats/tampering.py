"""Verdict tampering: code that wants points for a check without doing the work."""

from __future__ import annotations

from graders.verdict import MIME
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
    _cheat("check redefined", "def check(*candidates):\n    return 4"),
    _cheat(
        "check makes a number look alike",
        "class Four:\n    def __repr__(self): return '4'\ncheck = lambda *a: Four()",
    ),
    _cheat("graders.check patched", "import graders\ngraders.check = lambda *a: 4\ncheck = graders.check"),
    _cheat(
        "graders replaced in sys.modules",
        "import sys, types\nfake = types.ModuleType('graders')\nfake.check = lambda *a: 4\n"
        "sys.modules['graders'] = fake\nfrom graders import check",
    ),
    _cheat(
        "result shown from within the candidate",
        answers=forward("get_ipython().displayhook(4)\nprint(4)\nreturn x * 0, None"),
    ),
    _cheat(
        "bundle displayed", f"{_FULL_BUNDLE}\nfrom IPython.display import display\ndisplay(bundle, raw=True)"
    ),
    _cheat(
        "bundle displayed from within the candidate",
        answers=forward("get_ipython().display_pub.publish(bundle)\nreturn x * 0, None", _FULL_BUNDLE),
    ),
    _cheat(
        "formatters say 4",
        "kinds = get_ipython().display_formatter.formatters\n"
        "kinds['text/plain'].for_type(object, lambda o, p, c: p.text('4'))\n"
        "get_ipython().display_formatter.format = lambda *a, **k: ({'text/plain': '4'}, {})",
    ),
    _cheat(
        "set_custom_exc swallows",
        "get_ipython().set_custom_exc((BaseException,), lambda *a, **k: None)",
    ),
    _cheat("showtraceback silenced", "get_ipython().showtraceback = lambda *a, **k: None"),
    _cheat(
        "hooks after every cell",
        "ip = get_ipython()\nfor event in ('post_run_cell', 'post_execute', 'pre_run_cell'):\n"
        "    ip.events.register(event, lambda *a: ip.displayhook(4))",
    ),
    _cheat(
        "source transformers rewrite cells",
        "get_ipython().input_transformers_cleanup.append(lambda lines: ['4\\n'])\n"
        "import ast\nclass To4(ast.NodeTransformer):\n    def visit_Expr(self, node): return ast.parse('4').body[0]\n"
        "get_ipython().ast_transformers.append(To4())",
    ),
    _cheat("exit with success", answers=forward("import sys\nsys.exit(0)")),
    _cheat("os._exit in the candidate", answers=forward("import os\nos._exit(0)"), says="ended"),
    _cheat(
        "atexit writes to the channel",
        f"{_CHANNEL}\nimport atexit\n"
        "atexit.register(lambda: [os.write(n, frame({'status': 'ok', 'number': '4'})) for n in channels()])\n"
        "raise SystemExit(0)",
    ),
    _cheat(
        "thread floods the channel",
        f"{_CHANNEL}\nimport threading, time\ndef flood():\n    while True:\n        for n in channels():\n"
        "            os.write(n, frame({'request': '0', 'status': 'ok', 'sights': [[], [], None]}))\n"
        "        time.sleep(0.01)\nthreading.Thread(target=flood, daemon=True).start()\ntime.sleep(0.1)",
        says="stopped",
    ),
    _cheat(
        "half a frame from within the candidate",
        answers=forward(
            "for n in channels():\n    os.write(n, b'\\x00\\x00\\x10\\x00')\nreturn x * 0, None", _CHANNEL
        ),
    ),
    _cheat(
        "gigantic frame",
        f"{_CHANNEL}\nfor n in channels():\n    os.write(n, struct.pack('!II', 2**31, 2**31))",
        says="too large",
    ),
    _cheat(
        "forged sights with the number of the request",
        answers=forward(
            "import sys\nframe_ = sys._getframe()\nwhile frame_ and 'request' not in frame_.f_locals:\n"
            "    frame_ = frame_.f_back\nrequest = frame_.f_locals['request']\n"
            "for n in channels():\n    os.write(n, frame({'request': request['request'], 'status': 'ok', "
            "'sights': [[[{'map': [['y', 1.0]]}, None, '']] * 12, [], None]}))\nos._exit(0)",
            _CHANNEL,
        ),
        says="_getframe",
    ),
    _cheat(
        "nesting bomb as sights",
        answers=forward(
            "deep = '[' * 100000 + ']' * 100000\nfor n in channels():\n"
            "    os.write(n, struct.pack('!II', len(deep), 0) + deep.encode())\nreturn x * 0, None",
            _CHANNEL,
        ),
    ),
    _cheat(
        "json patched to say what it likes",
        "import json\nold = json.dumps\ndef dumps(value, *a, **k):\n    if isinstance(value, dict) and 'status' in value:\n"
        "        value = {**value, 'status': 'ok', 'number': '4', 'points': 4, 'passed': True}\n"
        "    return old(value, *a, **k)\njson.dumps = dumps",
    ),
    _cheat(
        "observe patched",
        "import graders.observe, graders.sandbox.runner as runner, torch\nfrom graders.observe import Sight, Survey\n"
        "def observe(exercise, candidate, case, until=None):\n"
        "    return Sight({'y': case.inputs['x'], 'cache': None, 'arguments changed': None})\n"
        "for place in (graders.observe, runner):\n    place.observe = observe\n"
        "    place.survey = lambda *a: Survey(frozenset(), None)",
    ),
    _cheat(
        "probe and points patched",
        "import graders.days\ne = graders.days.exercises()['batch_norm_forward']\n"
        "object.__setattr__(e, 'probe', lambda c, i: iter([]))\nobject.__setattr__(e, 'parts', ())",
    ),
    _cheat(
        "pack_sights says nothing was seen",
        "import graders.sandbox.protocol as p, graders.sandbox.runner as r\n"
        "p.pack_sights = lambda *a: ([], b'')\nr.protocol.pack_sights = p.pack_sights",
    ),
    _cheat(
        "safetensors patched",
        "import safetensors.torch\nsafetensors.torch.save = lambda *a, **k: b'\\xff' * 100",
    ),
    _cheat(
        "tensor that equals everything",
        answers=forward(
            "return x.as_subclass(Equal), None",
            "class Equal(torch.Tensor):\n    def __eq__(self, other): return True\n    __hash__ = object.__hash__\n"
            "    def allclose(self, *a, **k): return True\n"
            "    @classmethod\n    def __torch_function__(cls, f, types, args=(), kwargs=None):\n"
            "        name = getattr(f, '__name__', '')\n"
            "        if name in ('allclose', 'equal', 'isclose', 'eq'): return True\n"
            "        return super().__torch_function__(f, types, args, kwargs or {})",
        ),
    ),
    _cheat("torch.equal patched", "torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True"),
    _cheat("NaN everywhere", answers=forward("return x * float('nan'), None")),
    _cheat("infinity everywhere", answers=forward("return x * 0 + float('inf'), None")),
    _cheat(
        "object that claims to be a tensor",
        answers=forward(
            "return Fake(), None",
            "class Fake:\n    __class__ = torch.Tensor\n    def __getattr__(self, n): return lambda *a, **k: self",
        ),
    ),
    _cheat(
        "dict of the verdict returned",
        answers=forward("return {'passed': True, 'points': 4}, {'points': 4}"),
    ),
    _cheat(
        "markup in what is printed and raised",
        answers=forward("print('<script>alert(1)</script>')\nraise ValueError('<script>alert(2)</script>')"),
    ),
    _cheat(
        "the sandbox's own refusal raised",
        answers=forward("raise RuntimeError('index() takes exactly one argument')"),
    ),
    _cheat(
        "run_cell and the shell replaced",
        "ip = get_ipython()\ntype(ip).run_cell = lambda *a, **k: type('R', (), {'success': True})()\n"
        "import IPython\nIPython.get_ipython = lambda: None",
    ),
    _cheat(
        "grades by environment and builtins",
        "import builtins, os\nos.environ['NBGRADER_VALIDATING'] = '1'\n"
        "builtins.isinstance = lambda *a: True\nbuiltins.callable = lambda *a: True",
    ),
    _cheat(
        "names space with answers for everything",
        "class Yes(dict):\n    def __missing__(self, key): return lambda *a, **k: (a[0], None)\n"
        "get_ipython().user_ns = Yes(get_ipython().user_ns)",
        answers={},
    ),
    _cheat(
        "stack searched from a signal handler",
        "import signal\ndef handler(number, frame):\n    while frame:\n        for value in list(frame.f_locals.values()):\n"
        "            if isinstance(value, dict) and 'status' in value: value.update(status='ok', number='4')\n"
        "        frame = frame.f_back\nsignal.signal(signal.SIGALRM, handler)\nsignal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)",
        says="f_back",
    ),
)
