# Shared build rules: warnings, sanitizers, and the helpers that each folder's CMakeLists.txt uses.

add_library(m2_options INTERFACE)
target_include_directories(m2_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(m2_options INTERFACE -Wall -Wextra -Werror -Wno-unused-parameter)
if(M2_SANITIZE)
  # Instrumented code makes g++ see accesses out of bounds that are not there, in Boost's headers for
  # one: warnings are errors in every other tree.
  target_compile_options(m2_options INTERFACE -fsanitize=${M2_SANITIZE} -fno-omit-frame-pointer -g
                         -Wno-error)
  target_link_options(m2_options INTERFACE -fsanitize=${M2_SANITIZE})
endif()

find_package(Threads REQUIRED)

# m2_add_library(base SOURCES a.cc b.cc LIBS x y): the static library m2_base of src/base.
function(m2_add_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_library(m2_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(m2_${name} PUBLIC m2_options Threads::Threads ${ARG_LIBS})
endfunction()

# m2_add_test(base_test SOURCES a_test.cc LIBS m2_base): one GoogleTest program a folder.
# M2_SHARED_DIR names reference data that may be absent (tests skip); M2_SOURCE_DIR is the checkout.
set(M2_SHARED_DIR ${CMAKE_SOURCE_DIR}/../shared/data/minimax-m2 CACHE PATH
    "Official tokenizer, templates and golden vectors; tests that need them skip where absent")
function(m2_add_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE m2_options ${ARG_LIBS} GTest::gtest GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)  # half of what is compiled
  target_compile_definitions(${name} PRIVATE M2_SHARED_DIR="${M2_SHARED_DIR}"
                             M2_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(M2_SANITIZE)
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 5")
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()
