// Result<T>: a value or an Error.
//
//   Result<Fd> OpenFile(const std::string& path);
//
//   Status CopyConfig() {
//     TRY_ASSIGN(Fd in, OpenFile("a"));          // returns the error to our caller
//     TRY(WriteAll(in, "…"));
//     return Ok();
//   }
//
// Absent is not an error: a look-up that may find nothing returns Result<std::optional<T>>.
#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace varve {

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
  Result(Error error) : std::expected<T, Error>(std::unexpected(std::move(error))) {}  // NOLINT
};

using Status = Result<void>;

inline Status Ok() { return Status(); }

}  // namespace varve

#define VARVE_CONCAT_INNER(a, b) a##b
#define VARVE_CONCAT(a, b) VARVE_CONCAT_INNER(a, b)

// Evaluates an expression of type Result<…> and returns its error, if any, from this function.
#define TRY(expr)                                           \
  do {                                                      \
    if (auto try_result = (expr); !try_result) {            \
      return ::varve::Error(std::move(try_result).error()); \
    }                                                       \
  } while (false)

// TRY_ASSIGN(auto x, F()): declares or assigns x from the value, or returns the error.
#define TRY_ASSIGN(lhs, ...) VARVE_TRY_ASSIGN(VARVE_CONCAT(try_assign_result_, __LINE__), lhs, (__VA_ARGS__))
#define VARVE_TRY_ASSIGN(result, lhs, expr)                      \
  auto result = expr;                                            \
  if (!result) return ::varve::Error(std::move(result).error()); \
  lhs = std::move(result).value()

// Broken invariants abort, in every build type. Never used to judge input from user, network, disk.
#define CHECK(cond)                                               \
  do {                                                            \
    if (!(cond)) ::varve::CheckFailed(__FILE__, __LINE__, #cond); \
  } while (false)

namespace varve {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}  // namespace varve
