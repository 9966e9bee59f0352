"""Launch files: each is run with its cluster's commands replaced; each word it ends in is parsed by its own parser."""

import os
import re
import stat
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from torch.distributed.run import get_args_parser
from typer.main import get_command

from course_lib.recipes import pretrain

FOLDER = Path(pretrain.__file__).parent / "launch"
SBATCH = {  # of sbatch(1), with what may follow
    "job-name": r"[\w-]+",
    "nodes": r"\d+",
    "ntasks-per-node": "1",
    "gpus-per-node": r"\d+",
    "cpus-per-task": r"\d+",
    "exclusive": "",
    "time": r"(\d+-)?\d+:\d\d:\d\d",
    "requeue": "",
    "open-mode": "append|truncate",
    "output": r"\S+",
}
TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 1}


def mapping(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def named(**properties):
    return {"type": "array", "minItems": 1, "items": mapping(properties, name=TEXT, **properties)}


def nested(path, inside):
    for name in reversed(path.split(".")):
        inside = mapping([name], **{name: inside})
    return inside


SKYPILOT = mapping(  # https://docs.skypilot.co/en/latest/reference/yaml-spec.html
    ["run"],
    name=TEXT,
    workdir=TEXT,
    num_nodes=COUNT,
    resources=mapping(
        infra={"type": "string", "pattern": "^(aws|gcp|azure|kubernetes|k8s)(/.+)?$"},
        accelerators={"type": "string", "pattern": r"^\w+(:\d+)?$"},
        job_recovery=mapping(strategy=TEXT, max_restarts_on_errors={"type": "integer", "minimum": 0}),
    ),
    envs={"type": "object", "additionalProperties": {"type": ["string", "number", "null"]}},
    volumes={"type": "object", "propertyNames": {"pattern": "^/"}, "additionalProperties": TEXT},
    setup=TEXT,
    run=TEXT,
)
QUANTITY = {"anyOf": [COUNT, {"type": "string", "pattern": r"^\d+(\.\d+)?(m|[kMGTPE]i?)?$"}]}
QUANTITIES = {"type": "object", "additionalProperties": QUANTITY}
WORDS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 128}
POD = mapping(
    volumes={
        "type": "array",
        "items": mapping(
            ["name"],
            name=TEXT,
            persistentVolumeClaim=mapping(["claimName"], claimName=TEXT),
            emptyDir=mapping(medium={"const": "Memory"}),
        ),
    },
    containers=named(volumeMounts=named(mountPath={"type": "string", "pattern": "^/"})),
)
TRAIN_JOB = mapping(  # https://github.com/kubeflow/trainer, pkg/apis/trainer/v1alpha1/trainjob_types.go, version 2.2
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "trainer.kubeflow.org/v1alpha1"},
    kind={"const": "TrainJob"},
    metadata=mapping(["name"], name={"type": "string", "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}),
    spec=mapping(
        ["runtimeRef"],
        runtimeRef=mapping(["name"], name=TEXT, apiGroup=TEXT, kind=TEXT),
        trainer=mapping(
            image=TEXT,
            numNodes=COUNT,
            numProcPerNode=COUNT,
            resourcesPerNode=mapping(requests=QUANTITIES, limits=QUANTITIES),
            command=WORDS,
            args=WORDS,
        ),
        runtimePatches={
            "type": "array",
            "maxItems": 16,
            "items": mapping(
                ["manager"],
                manager=TEXT,
                trainingRuntimeSpec=nested(
                    "template.spec.replicatedJobs", named(template=nested("spec.template.spec", POD))
                ),
            ),
        },
    ),
)


def words_run(script, tmp_path, *arguments, program="torchrun", **environment):
    """The words with which a script calls ``program``, found by running it with programs that only write them down."""
    programs = {
        program: 'printf "%s\\0" "$@" > "$WORDS"',
        "srun": 'while [[ $1 == --* ]]; do shift; done; "$@"',
        "scontrol": 'test "$1 $2 $3" = "show hostnames machine[7-8]" && printf "machine7\\nmachine8\\n"',
    }
    for name, body in programs.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    words = tmp_path / "words"
    paths = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script, "bash", *arguments],
        env={"PATH": paths, "WORDS": str(words), **environment},
        check=True,
        timeout=30,
    )
    return words.read_text().split("\0")[:-1]


def parsed(words):
    """What torchrun and the recipe understand of the words."""
    torchrun = get_args_parser().parse_args(words)
    assert torchrun.module
    assert torchrun.training_script == "course_lib.recipes.pretrain"
    recipe = get_command(pretrain.app).make_context("pretrain", list(torchrun.training_script_args))
    return torchrun, recipe.params


def test_there_are_three():
    assert sorted(path.name for path in FOLDER.glob("pretrain.*")) == [
        "pretrain.sbatch",
        "pretrain.skypilot.yaml",
        "pretrain.trainjob.yaml",
    ]


class TestSlurm:
    script = (FOLDER / "pretrain.sbatch").read_text()

    def test_its_options_are_those_of_sbatch(self):
        head, _, body = self.script.partition("set -euo pipefail")
        assert head.startswith("#!/bin/bash\n")
        assert "#SBATCH" not in body  # sbatch reads none after the first command
        options = re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", head, flags=re.M)
        assert len(options) == head.count("#SBATCH")
        for name, value in options:
            assert re.fullmatch(SBATCH[name], value), name

    def test_the_command_is_understood(self, tmp_path):
        slurm = {
            "SLURM_JOB_ID": "4321",
            "SLURM_JOB_NODELIST": "machine[7-8]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_GPUS_ON_NODE": "8",
            "SLURM_CPUS_PER_TASK": "64",
        }
        more = ["--text", "/data/my books", "--out", "/data/runs/books", "--precision", "fp32"]
        torchrun, recipe = parsed(words_run(self.script, tmp_path, *more, **slurm))
        assert (torchrun.nnodes, torchrun.nproc_per_node, torchrun.max_restarts) == ("2", "8", 3)
        assert (torchrun.rdzv_backend, torchrun.rdzv_endpoint, torchrun.rdzv_id) == ("c10d", "machine7:24321", "4321")
        assert (recipe["parallel"], str(recipe["text"])) == ("fsdp", "/data/my books")
        assert recipe["precision"] == "fp32"  # what is given last counts


class TestSkyPilot:
    task = yaml.safe_load((FOLDER / "pretrain.skypilot.yaml").read_text())

    def test_it_has_the_documented_form(self):
        jsonschema.Draft202012Validator.check_schema(SKYPILOT)
        jsonschema.validate(self.task, SKYPILOT)

    def test_the_command_is_understood(self, tmp_path):
        sky = {
            "SKYPILOT_NUM_NODES": "2",
            "SKYPILOT_NUM_GPUS_PER_NODE": "8",
            "SKYPILOT_TASK_ID": "sky-managed-2026_pretrain_1-0",
            "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
        }
        torchrun, recipe = parsed(words_run(self.task["run"], tmp_path, **sky, **self.task["envs"]))
        assert (torchrun.nnodes, torchrun.nproc_per_node) == ("2", "8")
        assert (torchrun.rdzv_backend, torchrun.rdzv_endpoint) == ("c10d", "10.0.0.1:29400")
        assert (recipe["hub"], recipe["stream"]) == ("HuggingFaceFW/fineweb-edu", True)
        assert str(recipe["out"]) == "/runs/sky-managed-2026_pretrain_1-0"

    def test_setup_installs_what_the_recipe_needs(self, tmp_path):
        assert words_run(self.task["setup"], tmp_path, program="pip") == ["install", "--editable", ".[learn]"]


class TestKubernetes:
    job = yaml.safe_load((FOLDER / "pretrain.trainjob.yaml").read_text())

    def test_it_has_the_documented_form(self):
        jsonschema.Draft202012Validator.check_schema(TRAIN_JOB)
        jsonschema.validate(self.job, TRAIN_JOB)

    def test_what_is_mounted_is_there(self):
        (patch,) = self.job["spec"]["runtimePatches"]
        (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        pod = node["template"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert node["name"] == container["name"] == "node"  # as in the runtime torch-distributed
        assert [each["name"] for each in container["volumeMounts"]] == [each["name"] for each in pod["volumes"]]

    def test_the_command_is_understood(self, monkeypatch):
        trainer = self.job["spec"]["trainer"]
        for name, value in {"NNODES": trainer["numNodes"], "NPROC_PER_NODE": trainer["numProcPerNode"]}.items():
            monkeypatch.setenv(f"PET_{name}", str(value))  # the runtime sets these
        given = {"$(PET_MASTER_ADDR)": "pretrain-node-0-0.pretrain", "$(PET_MASTER_PORT)": "29400"}
        words = trainer["command"] + trainer["args"]
        for name, value in given.items():  # Kubernetes puts the values in
            words = [word.replace(name, value) for word in words]
        assert words[0] == "torchrun"
        torchrun, recipe = parsed(words[1:])
        assert (torchrun.nnodes, torchrun.nproc_per_node) == ("2", "8")
        assert torchrun.rdzv_endpoint == "pretrain-node-0-0.pretrain:29400"
        assert (recipe["parallel"], recipe["precision"]) == ("fsdp", "bf16")
        gpus = trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"]
        assert gpus == trainer["numProcPerNode"]  # a process for each


@pytest.mark.parametrize("change", ["nodes", "trainer.gpus", "runtimeRef"])
def test_the_form_refuses_what_kubeflow_does_not_know(change):
    job = yaml.safe_load((FOLDER / "pretrain.trainjob.yaml").read_text())
    match change:
        case "nodes":
            job["spec"]["nodes"] = 2
        case "trainer.gpus":
            job["spec"]["trainer"]["gpus"] = 8
        case _:
            del job["spec"]["runtimeRef"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, TRAIN_JOB)
