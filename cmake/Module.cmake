# varve_module(NAME base
#   SOURCES  fd.cc …          the module's translation units
#   DEPENDS  sys oci …        modules it may use: its row in ARCHITECTURE.md's table
#   LIBRARIES …               third-party targets
#   TESTS    fd_test.cc …     linked into one test binary, varve_<name>_test
#   TESTDATA DIR …            (optional) directories handed to tests as VARVE_TESTDATA definitions
#   TEST_DEPENDS …            modules that only the tests use
#   TEST_LIBRARIES …)
#
# makes the static library varve_<name> and, with VARVE_TESTS, its test.
function(varve_module)
  cmake_parse_arguments(M "" "NAME" "SOURCES;DEPENDS;LIBRARIES;TESTS;TEST_DEPENDS;TEST_LIBRARIES" ${ARGN})
  set(lib varve_${M_NAME})
  add_library(${lib} STATIC ${M_SOURCES})
  target_link_libraries(${lib} PUBLIC varve_flags)
  foreach(dep ${M_DEPENDS})
    target_link_libraries(${lib} PUBLIC varve_${dep})
  endforeach()
  target_link_libraries(${lib} PUBLIC ${M_LIBRARIES})

  if(VARVE_TESTS AND M_TESTS)
    add_executable(${lib}_test ${M_TESTS})
    target_link_libraries(${lib}_test PRIVATE ${lib} GTest::gmock_main ${M_TEST_LIBRARIES})
    foreach(dep ${M_TEST_DEPENDS})
      target_link_libraries(${lib}_test PRIVATE varve_${dep})
    endforeach()
    # Only where they are used: a path on every command line would keep two checkouts from sharing ccache.
    foreach(test ${M_TESTS})
      file(STRINGS ${test} uses REGEX "VARVE_(SOURCE|GOLDEN)_DIR" LIMIT_COUNT 1)
      if(uses)
        set_source_files_properties(${test} PROPERTIES COMPILE_DEFINITIONS
          "VARVE_SOURCE_DIR=\"${CMAKE_SOURCE_DIR}\";VARVE_GOLDEN_DIR=\"${CMAKE_SOURCE_DIR}/tests/golden\"")
      endif()
    endforeach()
    add_test(NAME ${M_NAME} COMMAND ${lib}_test)
    set(seconds 300)
    if(VARVE_SANITIZE)  # ThreadSanitizer makes compression ten times slower
      set(seconds 1800)
    endif()
    set_tests_properties(${M_NAME} PROPERTIES TIMEOUT ${seconds})
  endif()
endfunction()
