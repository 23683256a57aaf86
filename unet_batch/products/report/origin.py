"""Where it comes from: failures, provenance and the command that repeats it, as HTML."""

import json
from html import escape
from typing import Any

from unet_batch.products.report.facts import Facts
from unet_batch.store.journal import Status


def failures(facts: Facts) -> str:
    """What was set aside, and the log."""
    failed = facts.totals.blocks[Status.FAILED]
    if not failed and not facts.failures:
        return "<p>None.</p>"
    lines = "".join(f"<li>{escape(line)}</li>" for line in facts.failures)
    cure = " <code>unet-batch predict ... --retry-failed</code> tries them again." if failed else ""
    return (
        f"<p data-value='{failed}'>{failed:,} blocks are set aside.{cure} The last lines of the log:</p>"
        f"<ul class='log'>{lines}</ul>"
    )


def provenance(facts: Facts) -> str:
    """The command, what is known of the run, and the whole plan."""
    command = facts.command()
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td class='text'>{escape(str(value))}</td></tr>"
        for name, value in _known(facts).items()
        if value not in (None, "")
    )
    repeat = f"<pre id='command'>{escape(command)}</pre>" if command else "<p>Not recorded.</p>"
    plan = escape(json.dumps(facts.plan, indent=1))
    return (
        f"{repeat}<div class='scroll'><table>{rows}</table></div>"
        f"<details><summary>the plan, whole</summary><pre>{plan}</pre></details>"
    )


def _known(facts: Facts) -> dict[str, Any]:
    said, plan = facts.provenance, facts.plan
    compute = plan.get("compute", {})
    return {
        "image": said.get("image"),
        "networks": ", ".join(map(str, said.get("models", []))),
        "their hashes": ", ".join(map(str, plan.get("model", {}).get("hashes", []))),
        "hash of the plan": facts.masks.attributes.get("plan_hash"),
        "tile": " x ".join(map(str, plan.get("grid", {}).get("tile", []))),
        "arithmetic": ", ".join(str(compute[k]) for k in ("device", "backend", "precision") if k in compute),
        "begun": said.get("created"),
        "machine": " ".join(str(said[key]) for key in ("host", "machine") if key in said),
        "versions": ", ".join(f"{name} {number}" for name, number in said.get("versions", {}).items()),
        "largest difference to an untiled pass": facts.masks.attributes.get("untiled_max_abs_diff"),
    }
