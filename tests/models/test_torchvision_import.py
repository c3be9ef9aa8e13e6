"""torchvision imports beside this torch, whichever it is; each case in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


def test_a_network_is_built_and_run_without_a_warning() -> None:
    done = run(
        "import torch\n"
        "from celebattr.models.resnet import torchvision_models as models\n"
        "import torchvision\n"
        "assert models is torchvision.models\n"
        "network = models.resnet18(weights=None).eval()\n"
        "print(tuple(network(torch.zeros(1, 3, 64, 64)).shape))\n"
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "(1, 1000)", "")


@pytest.mark.long
def test_nothing_is_declared_where_the_plain_import_works() -> None:
    done = run(
        "import torch\n"
        "library = torch.library.Library('torchvision', 'DEF')\n"
        "for name in ('nms', 'qnms'):\n"
        "    library.define(name + '(Tensor dets, Tensor scores, float iou) -> Tensor')\n"
        "import torchvision\n"
        "from celebattr.models import resnet\n"
        "assert resnet.import_torchvision() is torchvision\n"
        "assert not resnet._libraries\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["torch", pytest.param("torchvision", marks=pytest.mark.long)])
def test_a_missing_package_names_the_extra(package: str) -> None:
    done = run(
        f"import sys; sys.modules[{package!r}] = None\n"
        "from celebattr.errors import MissingExtraError\n"
        "from celebattr.models import registry, spec\n"
        "try:\n"
        "    registry.build(spec.ModelSpec('resnet18', 1))\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    assert done.stdout.startswith(f"this needs {package}, which is not installed")
    assert "celebattr[train]" in done.stdout


@pytest.mark.long
def test_another_failure_of_the_import_is_not_swallowed() -> None:
    done = run(
        "import importlib\n"
        "def fail(name, package=None): raise RuntimeError('the disk is on fire')\n"
        "importlib.import_module = fail\n"
        "import celebattr.models.resnet\n"
    )
    assert done.returncode == 1
    assert "the disk is on fire" in done.stderr
