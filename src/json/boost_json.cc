// Boost.JSON is used header-only: its whole implementation is compiled here and nowhere else.
#include <boost/json/src.hpp>
