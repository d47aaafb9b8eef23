"""The reports on a class in Jupyter, made when they are asked for: an extension of the server.

It goes with nbgrader's Formgrader: whoever has that on their server, an instructor, has the reports, on the
course that the Formgrader shows, and an entry for them beside its pages; elsewhere there are none.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, TemplateError
from jinja2.ext import Extension
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

if TYPE_CHECKING:
    from graders.classroom.report_page import Links

#: Not below formgrader/, where nbgrader answers whatever it does not know itself.
ADDRESS = "class-reports"
_SIDEBAR = re.compile(r"({%-?\s*block\s+sidebar\s*-?%}.*?)({%-?\s*endblock)", re.DOTALL)
_ENTRY = """
<li role="presentation"{% if class_reports %} class="active"{% endif %}>
  <a href="{{ base_url | e }}/ADDRESS">Class Reports</a></li>
{% if assignment_id %}<li role="presentation">
  <a href="{{ base_url | e }}/ADDRESS/{{ assignment_id | urlencode }}">Report on {{ assignment_id | e }}</a>
</li>
{% endif %}""".replace("ADDRESS", ADDRESS)
#: In the Formgrader's own frame, which does not escape: everything here does.
_LIST = """{% extends 'base.tpl' %}
{% block title %}Class Reports{% endblock %}
{% block body %}
{% if problem %}<p class="alert alert-warning" role="alert">{{ problem | e }}</p>{% endif %}
{% if found %}<p>What a class has understood of an assignment, and what to teach next.</p>
<table class="table table-hover"><thead><tr><th scope="col">Assignment</th>
<th scope="col" class="text-center">Graded</th><th scope="col">To show the class</th></tr></thead><tbody>
{% for name, graded in found %}<tr>
<td><a href="{{ base_url | e }}/{{ address }}/{{ name | urlencode }}">{{ name | e }}</a></td>
<td class="text-center">{{ graded }}</td>
<td><a href="{{ base_url | e }}/{{ address }}/{{ name | urlencode }}?names=no">without names</a></td>
</tr>{% endfor %}</tbody></table>{% endif %}
{% endblock %}"""


class _Entry(Extension):
    """An entry at the end of the Formgrader's list of pages. Each template has that list anew."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return _SIDEBAR.sub(lambda found: f"{found[1]}{_ENTRY}{found[2]}", source, count=1)


class _Handler(JupyterHandler):
    """auth_resource: a report shows what is in the course's files, so it takes the right to read these."""

    auth_resource = "contents"

    @property
    def course(self) -> Path:
        """The folder of the course that the Formgrader shows. No Formgrader: no instructor."""
        formgrader = self.settings.get("nbgrader_formgrader")
        if formgrader is None:
            raise web.HTTPError(404, "There are no reports on this server: its Formgrader is off.")
        return Path(formgrader.coursedir.root)

    async def show(self, problem: str = "") -> None:
        """The assignments that have a report."""
        from graders.classroom.report_data import NoReport, graded_assignments

        found: list[tuple[str, int]] = []
        try:
            found = await asyncio.to_thread(graded_assignments, self.course)
        except NoReport as other:
            problem = problem or str(other)
        if not found and not problem:
            problem = "There is no graded work in this course yet: run `graders autograde` first."
        values = {"base_url": self.base_url.rstrip("/"), "address": ADDRESS, "class_reports": True}
        environment: Environment = self.settings["nbgrader_jinja2_env"]
        try:
            template = environment.from_string(_LIST)
        except TemplateError:  # another nbgrader
            raise web.HTTPError(500, f"The Formgrader has no base.tpl; see {ADDRESS}/ASSIGNMENT.") from None
        self.finish(template.render(**values, problem=problem, found=found))


class _List(_Handler):
    @web.authenticated
    @authorized("read")
    async def get(self) -> None:
        await self.show()


class _Report(_Handler):
    @property
    def content_security_policy(self) -> str:
        """As the page says of itself: whatever a student wrote, no script runs and nothing is loaded."""
        rules = ("default-src 'none'", "style-src 'unsafe-inline'", "base-uri 'none'", "form-action 'none'")
        return "; ".join((super().content_security_policy, *rules))

    @web.authenticated
    @authorized("read")
    async def get(self, assignment: str) -> None:
        from graders.classroom.report_data import NoReport

        course, hidden = self.course, self.get_argument("names", "yes") == "no"
        try:
            page = await asyncio.to_thread(_page, course, assignment, self._links(course), hidden=hidden)
        except NoReport as problem:
            self.set_status(404)
            # The list is a page of the Formgrader and has its scripts, and nothing of a student.
            self.set_header("Content-Security-Policy", super().content_security_policy)
            await self.show(str(problem))
        else:
            self.set_header("Cache-Control", "no-store")
            self.finish(page)

    def _links(self, course: Path) -> Links:
        """Into this very server. doc/ and not lab/: the page itself is in a frame of JupyterLab."""
        from graders.classroom.report_page import Links, in_formgrader

        server = self.base_url.rstrip("/")
        below = os.path.relpath(course, self.settings["nbgrader_formgrader"].root_dir)
        has = (course / "course" / "index.ipynb").is_file() and not below.startswith("..")
        lectures = quote(Path(below, "course").as_posix())
        return Links(
            f"{server}/doc/tree/{lectures}" if has else "",
            in_formgrader(server),
            f"{server}/{ADDRESS}",
        )


def _page(course: Path, assignment: str, links: Links, *, hidden: bool) -> str:
    from graders.classroom.report import report
    from graders.classroom.report_names import Names
    from graders.classroom.report_page import as_page

    found = report(course, assignment)
    return as_page(found, Names(found.classroom, hidden=hidden), links)


def _enter(settings: dict[str, Any]) -> None:
    """Put the entry into the Formgrader's pages, if it is there and its templates are what they were."""
    environment = settings.get("nbgrader_jinja2_env")
    if isinstance(environment, Environment):
        environment.add_extension(_Entry)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "graders.classroom.server"}]


def _load_jupyter_server_extension(server: Any) -> None:
    application = server.web_app
    address = url_path_join(application.settings["base_url"], ADDRESS)
    application.add_handlers(
        ".*$", [(rf"{re.escape(address)}/?", _List), (rf"{re.escape(address)}/([^/]+)/?", _Report)]
    )
    # Once all extensions are there: the Formgrader may come after this one.
    server.io_loop.add_callback(_enter, application.settings)
