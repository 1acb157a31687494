"""The manifests fit this release: what they name is there, and what they promise it does."""

import re
from typing import Any, Final

import yaml  # type: ignore[import-untyped] # it has no types of its own
from typer.testing import CliRunner

from percorso.app import create_app
from percorso.cli import app as cli
from percorso.ops import metrics
from percorso.settings import Settings
from support import settings_for

RUNNER: Final = CliRunner()
Thing = dict[str, Any]


def printed(*arguments: str) -> str:
    done = RUNNER.invoke(cli, ["reference", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


THINGS: Final[list[Thing]] = list(yaml.safe_load_all(printed("kubernetes")))


def of(kind: str) -> Thing:
    [thing] = [thing for thing in THINGS if thing["kind"] == kind]
    return thing


def pods() -> list[Thing]:
    return [of(kind)["spec"]["template"]["spec"] for kind in ("Job", "Deployment")]


def served() -> Thing:
    [container] = of("Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_everything_that_running_takes_is_there() -> None:
    assert sorted(thing["kind"] for thing in THINGS) == [
        "Deployment",
        "HorizontalPodAutoscaler",
        "Job",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Secret",
        "Service",
        "ServiceAccount",
    ]
    assert len({(thing["kind"], thing["metadata"]["name"]) for thing in THINGS}) == len(THINGS)


def test_pods_run_unprivileged_on_a_root_that_is_only_read() -> None:
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        # The user of the Dockerfile.
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]  # noqa: S108 - the pod's own
        assert [volume["name"] for volume in pod["volumes"]] == [mount["name"] for mount in container["volumeMounts"]]
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]


def test_every_variable_is_a_setting() -> None:
    known = {f"PERCORSO_{name.upper()}" for name in Settings.model_fields}
    given = {each["name"]: each["value"] for each in served()["env"]}
    assert given.keys() | of("Secret")["stringData"].keys() <= known
    values = {name.removeprefix("PERCORSO_").lower(): value for name, value in given.items()}
    Settings(_env_file=None, **values)
    for pod in pods():
        assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": of("Secret")["metadata"]["name"]}}]
    # What the comments speak of, too.
    assert set(re.findall(r"PERCORSO_[A-Z_]+", printed("kubernetes"))) <= known


def test_probes_ask_for_routes_that_need_no_key_on_the_port_that_is_served() -> None:
    paths = create_app(settings_for("postgresql://unused")).openapi()["paths"]
    [port] = served()["ports"]
    assert port["containerPort"] == Settings.model_fields["port"].default
    asked = {}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked[probe] = served()[probe]["httpGet"]["path"]
        assert "security" not in paths[asked[probe]]["get"]
        assert served()[probe]["httpGet"]["port"] == port["name"]
    assert asked["readinessProbe"] == "/health/ready"
    # Whether the database answers is no reason to be killed.
    assert asked["livenessProbe"] == asked["startupProbe"] == "/health/live"
    assert served()["readinessProbe"]["timeoutSeconds"] > Settings.model_fields["connect_timeout_seconds"].default
    annotations = of("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in paths
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    [exposed] = of("Service")["spec"]["ports"]
    assert exposed["targetPort"] == port["name"]


def test_everything_selects_the_pods_that_serve_and_no_others() -> None:
    serving = of("Deployment")["spec"]["template"]["metadata"]["labels"]
    migrating = of("Job")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        of("Deployment")["spec"]["selector"]["matchLabels"],
        of("Service")["spec"]["selector"],
        of("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= serving.items()
        assert not selector.items() <= migrating.items()
    guarded = of("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert guarded.items() <= serving.items()
    assert guarded.items() <= migrating.items()
    target = of("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == of("Deployment")["metadata"]["name"]


def test_a_pod_is_given_the_time_that_stopping_takes() -> None:
    pod = of("Deployment")["spec"]["template"]["spec"]
    drain = {each["name"]: each["value"] for each in served()["env"]}["PERCORSO_DRAIN_SECONDS"]
    assert int(drain) == Settings.model_fields["drain_seconds"].default
    [pause] = re.findall(r"sleep\((\d+)\)", served()["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] >= int(pause) + int(drain) + 5
    # No pod is taken away before another is ready.
    assert of("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert of("HorizontalPodAutoscaler")["spec"]["minReplicas"] > of("PodDisruptionBudget")["spec"]["maxUnavailable"]


def test_it_scales_on_a_metric_that_there_is_before_anything_is_refused() -> None:
    [queue] = [each["pods"] for each in of("HorizontalPodAutoscaler")["spec"]["metrics"] if each["type"] == "Pods"]
    assert [metric.name for metric in metrics.QUEUE_ROWS.collect()] == [queue["metric"]["name"]]
    assert 0 < int(queue["target"]["averageValue"]) < Settings.model_fields["queue_rows"].default / 2


def test_the_job_migrates_by_a_command_that_there_is() -> None:
    [container] = of("Job")["spec"]["template"]["spec"]["containers"]
    assert RUNNER.invoke(cli, [*container["args"], "--help"]).exit_code == 0
    assert RUNNER.invoke(cli, [*served()["args"], "--help"]).exit_code == 0
    assert container["image"] == served()["image"]
