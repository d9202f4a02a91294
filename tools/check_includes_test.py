"""The include rules refuse what docs/architecture.md says they refuse."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check_includes  # noqa: E402


def faults(path, include):
    return check_includes.check_file(path, f"#include {include}\n")


def test_the_tree_holds_its_rules():
    for path in (check_includes.ROOT / "src").rglob("*"):
        if path.suffix in (".h", ".cc"):
            relative = str(path.relative_to(check_includes.ROOT / "src"))
            assert check_includes.check_file(relative, path.read_text()) == []


def test_engine_knows_nothing_of_text():
    assert faults("engine/engine.cc", '"text/tokenizer.h"')
    assert not faults("engine/engine.cc", '"base/error.h"')


def test_text_sees_only_the_constraint_of_the_engine():
    assert faults("text/grammar.cc", '"engine/engine.h"')
    assert not faults("text/grammar.cc", '"engine/constraint.h"')


def test_the_longest_folder_decides():
    assert check_includes.folder_of("backend/cpu/ops.cc") == "backend/cpu"
    assert check_includes.folder_of("backend/backend.cc") == "backend"


def test_libraries_stay_where_they_belong():
    assert faults("server/service.cc", "<boost/asio.hpp>")
    assert not faults("server/http/socket.cc", "<boost/asio.hpp>")
    assert faults("text/tokenizer.cc", "<boost/json.hpp>")
    assert not faults("json/parse.cc", "<boost/json/basic_parser_impl.hpp>")


def test_an_unknown_folder_is_a_fault():
    assert faults("stuff/a.cc", "<vector>")
