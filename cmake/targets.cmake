# berth_library(name SOURCES... [DEPENDS target...]): a static library of one folder.
function(berth_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${A_DEPENDS})
endfunction()

# berth_test(name LABEL unit|contract|host|crash|e2e SOURCES... [DEPENDS target...] [ENV K=V...] [TIMEOUT s])
# One GoogleTest binary. Labels say what a test needs: docs/TESTING.md.
find_package(GTest REQUIRED)
function(berth_test name)
  cmake_parse_arguments(A "" "LABEL;TIMEOUT" "SOURCES;DEPENDS;ENV" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_DEPENDS} GTest::gmock GTest::gtest GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABEL}" TIMEOUT ${A_TIMEOUT})
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=thread")
    # A process's end does not wait for other threads' reports.
    list(APPEND A_ENV
      "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/cmake/tsan.supp:atexit_sleep_ms=0")
  endif()
  if(A_ENV)
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "${A_ENV}")
  endif()
  if(NOT A_LABEL STREQUAL "unit")
    # Tests that touch the machine run one at a time.
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()
