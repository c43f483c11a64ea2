"""Which environment variables a client of the sandbox may set for one of its processes."""

from __future__ import annotations

import pytest

from sandbox.engine import EngineError
from sandbox.engine.configuration import passed_on
from sandbox.sites.control import check_settings
from sandbox.web import Fault


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD", "LD_AUDIT", "GLIBC_TUNABLES", "MALLOC_TRACE", "GCONV_PATH", "OPENSSL_CONF", "BASH_ENV", "PATH",
        "GIT_SSH_COMMAND", "HOME", "SHELL", "LOCPATH", "NLSPATH", "HOSTALIASES", "TMPDIR", "SSLKEYLOGFILE",
    ],
)  # fmt: skip
def test_what_every_program_reads_is_set_neither_for_the_engine_nor_for_an_app(name: str) -> None:
    with pytest.raises(EngineError, match=f"{name} is no name"):
        passed_on({name: "x"})
    with pytest.raises(Fault, match=f"{name}' is no name"):
        check_settings({name: "x"})


@pytest.mark.parametrize(
    "name", ["CONTAINERS_CONF", "XDG_RUNTIME_DIR", "https_proxy", "GODEBUG", "STORAGE_OPTS", "USER"]
)
def test_what_the_engine_reads_is_set_for_an_app_only(name: str) -> None:
    check_settings({name: "x"})
    with pytest.raises(EngineError, match=f"{name} is no name"):
        passed_on({name: "x"})


@pytest.mark.parametrize("name", ["ENV", "IFS", "TEMP", "TMP", "PYTHONPATH", "NODE_OPTIONS", "PERL5OPT"])
def test_what_a_shell_or_an_interpreter_reads_is_set_for_a_container_only(name: str) -> None:
    assert passed_on({name: "x"}) == {name: "x"}
    with pytest.raises(Fault, match=f"{name}' is no name"):
        check_settings({name: "x"})


@pytest.mark.parametrize(
    "name", ["LDAP_URL", "PATHS", "ENVIRONMENT", "GITHUB_TOKEN", "_X", "PYTHON_ENABLE_DEBUG_LOGGING"]
)
def test_any_other_name_is_set_for_both(name: str) -> None:
    check_settings({name: "x"})
    assert passed_on({name: "x"}) == {name: "x"}
