// A JSON value.
//
// Objects keep their insertion order, so that documents come out in the order of the structs that
// their specifications define. Numbers are int64 or double. Parsing is nlohmann-json's, kept out of
// this header because including it costs two seconds per translation unit.
//
// Strings hold arbitrary bytes. The writer emits each byte that is not part of valid UTF-8 as the
// lone surrogate escape \udcXX: injective (valid UTF-8 has no surrogates), so two different file
// names never give one key preimage.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace varve {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;

  Json() = default;                    // null
  Json(std::nullptr_t) {}              // NOLINT
  Json(bool value) : value_(value) {}  // NOLINT
  template <std::integral T>
  requires(!std::same_as<T, bool>) Json(T value) : value_(static_cast<int64_t>(value)) {}  // NOLINT
  Json(double value) : value_(value) {}                                                    // NOLINT
  Json(std::string value) : value_(std::move(value)) {}                                    // NOLINT
  Json(std::string_view value) : value_(std::string(value)) {}                             // NOLINT
  Json(const char* value) : value_(std::string(value)) {}                                  // NOLINT
  Json(Array value) : value_(std::move(value)) {}                                          // NOLINT
  Json(Object value) : value_(std::move(value)) {}                                         // NOLINT

  static Json EmptyArray() { return Json(Array()); }
  static Json EmptyObject() { return Json(Object()); }
  static Json Strings(const std::vector<std::string>& items);

  // kInvalid with the position, for malformed text, trailing data, or nesting deeper than 200.
  static Result<Json> Parse(std::string_view text);

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_int() const { return std::holds_alternative<int64_t>(value_); }
  bool is_number() const { return is_int() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  // CHECK the type.
  bool as_bool() const { return std::get<bool>(value_); }
  int64_t as_int() const;  // a double is truncated
  double as_double() const;
  const std::string& as_string() const { return std::get<std::string>(value_); }
  const Array& as_array() const { return std::get<Array>(value_); }
  Array& as_array() { return std::get<Array>(value_); }
  const Object& as_object() const { return std::get<Object>(value_); }
  Object& as_object() { return std::get<Object>(value_); }

  // Tolerant reads of foreign documents: the fallback when this is not an object, the member is
  // absent, or it has another type.
  const Json* Find(std::string_view key) const;
  Json* Find(std::string_view key);
  std::string GetString(std::string_view key, std::string_view fallback = {}) const;
  int64_t GetInt(std::string_view key, int64_t fallback = 0) const;
  bool GetBool(std::string_view key, bool fallback = false) const;
  std::vector<std::string> GetStrings(std::string_view key) const;  // non-strings are skipped
  const Array& GetArray(std::string_view key) const;                // empty when absent
  const Object& GetObject(std::string_view key) const;              // empty when absent

  // Build. Set replaces a member of that name in place, or appends. Both turn null into the
  // container and return *this, so that calls chain.
  Json& Set(std::string_view key, Json value);
  Json& SetIf(bool condition, std::string_view key, Json value);  // omitempty
  Json& Append(Json value);
  void Erase(std::string_view key);

  struct Format {
    int indent = 0;            // 0: compact, no blanks
    bool sort_keys = false;    // by bytes
    bool escape_html = false;  // <, >, &, U+2028, U+2029 as \u escapes, as Go's encoding/json does
  };
  std::string Dump(const Format& format) const;
  std::string Dump() const { return Dump(Format{}); }
  std::string DumpCanonical() const { return Dump(Format{.sort_keys = true}); }  // key preimages

  bool operator==(const Json&) const = default;

 private:
  std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object> value_ = nullptr;
};

}  // namespace varve
