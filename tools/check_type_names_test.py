"""Names that are defined twice are found, and nothing else is taken for one."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from check_type_names import check, defined_types  # noqa: E402


def test_the_second_definition_is_named():
    one = "namespace m2 {\nstruct HttpOptions {\n  int port;\n};\n}  // namespace m2\n"
    two = "namespace m2 {\nclass HttpOptions final : public Base<int> { int a; };\n}"
    assert check([("src/a/a.h", one), ("src/b/b.cc", two)]) == [
        "m2::HttpOptions is defined in src/a/a.h and src/b/b.cc"]
    assert check([("src/a/a.h", one), ("tests/b/b.cc", two)])
    # Two test programs may each have their own.
    assert not check([("tests/a/a.cc", one), ("tests/b/b.cc", two)])
    assert check([("tests/a/a.cc", one), ("tests/a/b.cc", two)])


def test_what_is_no_second_definition():
    hidden = "namespace m2 {\nnamespace {\nstruct Options { int a; };\n}\n}\n"
    other = "namespace m2::cli {\nstruct Options { int a; };\n}\n"
    ours = "namespace m2 { struct Options { int a; }; struct B { struct Options {}; }; }"
    assert not check([("src/a.cc", hidden), ("src/b.cc", other), ("src/c.cc", ours)])
    mention = """namespace m2 {
    struct Options; class Other;
    // struct Options { };
    const char* text = "struct Options {"; constexpr int big = 1'000'000;
    struct Options make(struct Options a) { return a; }
    template <class Options> void use(Options options) { struct Options2 { int a; }; }
    }"""
    assert defined_types(mention) == []


def test_kinds_of_types():
    text = """namespace m2 {
    enum class Mode : uint8_t { kOne };
    template <typename T, class U = int> class Queue : Base<T> { struct Node { T value; }; };
    template <> struct Queue<int> { };
    class Server::Impl { void f() { if (a < b) { } } public: struct In { }; };
    struct alignas(64) Padded { };
    inline int twice(int a) { return 2 * a; }
    union Bits { int a; float b; };
    }"""
    assert defined_types(text) == ["m2::Mode", "m2::Queue", "m2::Queue::Node", "m2::Server::Impl",
                                   "m2::Server::Impl::In", "m2::Padded", "m2::Bits"]
