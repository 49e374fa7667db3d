"""`dtagent doctor` where systemd runs: it tries all of it as the service does."""

from __future__ import annotations

import json

from tests.machine import Result
from tests.process import wait_for

from .site import KUBECONFIG, Site

WHERE = "/etc/systemd/system/dtagent.service.d/broken.conf"


def doctor(site: Site) -> tuple[dict[str, dict[str, str]], Result]:
    """Each check of the JSON by its name, and the command's result."""
    result = site.machine.run("dtagent doctor -o json")
    checks = json.loads(result.stdout)["checks"]
    return {check["name"]: check for check in checks}, result


def all_is_well(site: Site) -> None:
    checks, result = doctor(site)
    assert result.status == 0, result
    assert {check["status"] for check in checks.values()} == {"ok"}, result


def test_after_the_installation_all_is_well_and_the_agent_goes_on(site: Site) -> None:
    pid = site.pid
    all_is_well(site)
    assert site.pid == pid
    assert site.machine.path("/run/dtagent/state.json").exists()


def test_a_kubeconfig_that_the_sandbox_hides(site: Site) -> None:
    folder = KUBECONFIG.rpartition("/")[0]
    site.machine.put(WHERE, f"[Service]\nInaccessiblePaths={folder}\n")
    site.machine.run("systemctl daemon-reload && systemctl restart dtagent", check=True)
    checks, result = doctor(site)
    assert result.status == 1
    assert checks["kubeconfig"] == {
        "name": "kubeconfig",
        "status": "failure",
        "message": f"{KUBECONFIG}: Permission denied; "
        "the unit's sandbox may deny it, see dtagent(8)",
        "remedy": "run it as root; else let the unit read it: dtagent(8)",
    }
    assert checks["unit-sandbox"] == {
        "name": "unit-sandbox",
        "status": "failure",
        "message": "well for root, and not in the service: kubeconfig",
        "remedy": "undo the drop-in that denies it: `systemctl cat dtagent`; see dtagent(8)",
    }
    site.machine.run(f"rm {WHERE}", check=True)
    site.machine.run("systemctl daemon-reload && systemctl restart dtagent", check=True)
    all_is_well(site)


def test_a_dropin_as_people_write_them(site: Site) -> None:
    site.machine.put(WHERE, "# f\u00fcr uns\n[Service]\nMemoryMax = 200M\n  Environment=A=b\n")
    site.machine.run("systemctl daemon-reload && systemctl restart dtagent", check=True)
    all_is_well(site)
    site.machine.put(WHERE, "[Service]\nEnvironment=A=%H\n")
    site.machine.run("systemctl daemon-reload && systemctl restart dtagent", check=True)
    checks, result = doctor(site)
    assert result.status == 0, result
    assert checks.pop("unit-sandbox") == {
        "name": "unit-sandbox",
        "status": "skipped",
        "message": "Environment=A=%H: only the unit itself has what `%` stands for",
        "remedy": "",
    }
    assert {check["status"] for check in checks.values()} == {"ok"}, result
    site.machine.run(f"rm {WHERE}", check=True)
    site.machine.run("systemctl daemon-reload && systemctl restart dtagent", check=True)


def test_options_that_the_service_has_not_are_tried_where_they_are_given(site: Site) -> None:
    command = "cd /etc && dtagent doctor --config dtagent.toml -o json"
    result = site.machine.run(command)
    checks = {each["name"]: each for each in json.loads(result.stdout)["checks"]}
    assert result.status == 0, result
    assert checks["configuration"]["status"] == "ok"
    assert checks["unit-sandbox"]["status"] == "skipped"


def test_a_masked_unit(site: Site) -> None:
    site.machine.run("systemctl mask --now dtagent", check=True)
    checks, result = doctor(site)
    assert result.status == 1
    assert checks["unit-installed"] == {
        "name": "unit-installed",
        "status": "failure",
        "message": "dtagent.service is masked",
        "remedy": "systemctl unmask dtagent && systemctl enable --now dtagent",
    }
    assert checks["unit-active"]["message"] == "needs unit-installed"
    site.machine.run(checks["unit-installed"]["remedy"], check=True)
    all_is_well(site)


def test_an_agent_that_somebody_runs_by_hand(site: Site) -> None:
    site.machine.run("systemctl stop dtagent && mkdir -p /run/dtagent", check=True)
    unit = "systemd-run --quiet --unit=by-hand dtagent run"
    site.machine.run(unit, check=True)
    wait_for(site.machine.path("/run/dtagent/state.json").exists, "an agent by hand")
    pid = site.machine.run("systemctl show by-hand -p MainPID --value", check=True).stdout.strip()
    checks, result = doctor(site)
    assert result.status == 1
    assert checks["unit-alone"] == {
        "name": "unit-alone",
        "status": "failure",
        "message": f"dtagent runs as process {pid} outside the service, and holds its lock",
        "remedy": "end that process, then: systemctl restart dtagent",
    }
    site.machine.run("systemctl stop by-hand && systemctl restart dtagent", check=True)
    all_is_well(site)
