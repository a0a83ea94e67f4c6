"""The page `/storm` of Locust's web UI, and a tab that leads there.

    /storm           the page            /storm/now       what is on it, as it is now
    /storm/metrics   for Prometheus      /storm/fleet     fleet.json

Locust's tabs hold tables only, so the tab has the numbers, and the page the plots. No network.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request

from squall.load import metrics, storm_page
from squall.load.master import Master
from squall.load.results import Fleet
from squall.pages.markup import Markup
from squall.prometheus import CONTENT_TYPE

TAB = "storm"


def add(web_ui: Any, master: Master) -> None:
    """Add the page and the tab to Locust's web UI, behind its login where it has one."""
    app, guarded = web_ui.app, web_ui.auth_required_if_enabled
    base = (web_ui.environment.parsed_options.web_base_path or "").rstrip("/")

    def now() -> Markup:
        return storm_page.view(master.storm, Fleet.from_json(master.as_json()))

    def page() -> Response:
        return Response(storm_page.document(master.storm, now()), mimetype="text/html")

    def fragment() -> Response:
        return Response(now(), mimetype="text/html")

    def for_prometheus() -> Response:
        return Response(metrics.exposition(master.as_json()), content_type=CONTENT_TYPE)

    def fleet() -> Response:
        return Response(json.dumps(master.as_json()), mimetype="application/json")

    def with_numbers(response: Response) -> Response:
        """Give the tab its rows: they ride on what Locust's page asks for anyway."""
        if request.path != f"{base}/stats/requests" or not response.is_json:
            return response
        standing = storm_page.numbers(master.storm, Fleet.from_json(master.as_json()))
        rows = [{"name": name, "value": value} for name, value in standing]
        said = {**response.get_json(), "extended_stats": [{"key": TAB, "data": rows}]}
        response.set_data(json.dumps(said))
        return response

    for path, view in (("", page), ("/now", fragment), ("/fleet", fleet)):
        app.add_url_rule(f"{base}/storm{path}", f"storm{path}", guarded(view))
    # Prometheus does not log in, and the numbers are no secret.
    app.add_url_rule(f"{base}/storm/metrics", "storm/metrics", for_prometheus)
    app.after_request(with_numbers)
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Storm", "key": TAB}],
        "extended_tables": [
            {
                "key": TAB,
                "structure": [
                    {"key": "name", "title": f"The plots are at {base}/storm"},
                    {"key": "value", "title": "Now"},
                ],
            }
        ],
    }
