# Flags common to all targets.
add_library(varve_flags INTERFACE)
target_include_directories(varve_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(varve_flags INTERFACE _FILE_OFFSET_BITS=64 _GNU_SOURCE)
# Designated initializers leave fields to their defaults on purpose.
target_compile_options(varve_flags INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
# libstdc++ 12's own std::stable_sort calls what C++23 deprecates, and clang shows that as ours. Our
# uses of deprecated functions are still reported by g++.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(varve_flags INTERFACE -Wno-deprecated-declarations)
endif()
if(VARVE_WERROR)
  target_compile_options(varve_flags INTERFACE -Werror)
endif()
if(VARVE_SANITIZE)
  target_compile_options(varve_flags INTERFACE -fsanitize=${VARVE_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(varve_flags INTERFACE -fsanitize=${VARVE_SANITIZE})
  if(VARVE_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_compile_definitions(varve_flags INTERFACE __SANITIZE_THREAD__)  # g++ says so by itself
  endif()
endif()

# Links take a good part of an edit-to-test loop; mold does them in a fraction of the time. Not for what is released: mold
# before 2.0 does not mark packed relocations (Dependencies.cmake) as glibc wants them marked.
find_program(VARVE_MOLD mold)
if(VARVE_MOLD AND NOT VARVE_STATIC AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_link_options(varve_flags INTERFACE -fuse-ld=mold)
endif()
find_program(VARVE_CCACHE ccache)
if(VARVE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${VARVE_CCACHE})
endif()
