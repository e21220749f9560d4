#include "base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json_bytes.h"

namespace varve {

namespace {

constexpr int kMaxDepth = 200;

// Builds our values from nlohmann's event stream, so that its own DOM is never made.
class Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(const JsonBytes* bytes) : bytes_(bytes) {}
  bool null() override { return Add(Json()); }
  bool boolean(bool value) override { return Add(Json(value)); }
  bool number_integer(int64_t value) override { return Add(Json(value)); }
  bool number_unsigned(uint64_t value) override {
    return value <= INT64_MAX ? Add(Json(static_cast<int64_t>(value))) : Add(Json(static_cast<double>(value)));
  }
  bool number_float(double value, const std::string&) override { return Add(Json(value)); }
  bool string(std::string& value) override {
    if (bytes_ != nullptr) bytes_->Restore(value);
    // Copied: the lexer keeps its buffer, which it would fill from nothing for each string otherwise.
    return Add(Json(std::string_view(value)));
  }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return Open(Json::EmptyObject()); }
  bool start_array(size_t) override { return Open(Json::EmptyArray()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(std::string& value) override {
    if (bytes_ != nullptr) bytes_->Restore(value);
    keys_.back() = value;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    std::string_view what = e.what();  // "[json.exception.parse_error.101] parse error at …: why"
    if (size_t at = what.find("] "); at != what.npos) what.remove_prefix(at + 2);
    error_ = fmt::format("malformed JSON at byte {}: {}", position, what);
    return false;
  }

  Json& result() { return root_; }
  const std::string& error() const { return error_; }

 private:
  bool Open(Json container) {
    if (stack_.size() >= kMaxDepth) {
      error_ = fmt::format("JSON nested deeper than {}", kMaxDepth);
      return false;
    }
    stack_.push_back(std::move(container));
    keys_.emplace_back();
    return true;
  }
  bool Close() {
    Json done = std::move(stack_.back());
    stack_.pop_back();
    keys_.pop_back();
    return Add(std::move(done));
  }
  bool Add(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().is_array()) {
      stack_.back().as_array().push_back(std::move(value));
    } else {
      // Appended without a search: a duplicate key is last-wins at Find, and large objects stay
      // linear.
      stack_.back().as_object().emplace_back(std::move(keys_.back()), std::move(value));
    }
    return true;
  }

  const JsonBytes* bytes_;
  Json root_;
  std::vector<Json> stack_;
  std::vector<std::string> keys_;
  std::string error_;
};

// Length of the valid UTF-8 sequence at `s`, 0 if there is none; its code point in *point.
size_t Utf8Length(std::string_view s, uint32_t* point) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
  auto tail = [&](size_t i) { return i < s.size() && (byte(i) & 0xc0) == 0x80; };
  uint8_t b = byte(0);
  if (b < 0x80) return *point = b, 1;
  if (b >= 0xc2 && b < 0xe0 && tail(1)) {
    *point = (b & 0x1fu) << 6 | (byte(1) & 0x3fu);
    return 2;
  }
  if (b >= 0xe0 && b < 0xf0 && tail(1) && tail(2)) {
    *point = (b & 0xfu) << 12 | (byte(1) & 0x3fu) << 6 | (byte(2) & 0x3fu);
    return *point >= 0x800 && (*point < 0xd800 || *point > 0xdfff) ? 3 : 0;
  }
  if (b >= 0xf0 && b < 0xf5 && tail(1) && tail(2) && tail(3)) {
    *point = (b & 7u) << 18 | (byte(1) & 0x3fu) << 12 | (byte(2) & 0x3fu) << 6 | (byte(3) & 0x3fu);
    return *point >= 0x10000 && *point <= 0x10ffff ? 4 : 0;
  }
  return 0;
}

// How many bytes at the beginning of `s` stand for themselves in any format: nearly always all.
size_t PlainPrefix(std::string_view s) {
  size_t n = 0;
  while (n < s.size()) {
    auto c = static_cast<signed char>(s[n]);  // below 0: not ASCII
    if (c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&') break;
    ++n;
  }
  return n;
}

void DumpString(std::string_view s, const Json::Format& format, std::string& out) {
  out += '"';
  while (true) {
    size_t plain = PlainPrefix(s);
    out.append(s.substr(0, plain));
    s.remove_prefix(plain);
    if (s.empty()) break;
    uint32_t point = 0;
    size_t length = Utf8Length(s, &point);
    auto escape = [&](uint32_t code) { out += fmt::format("\\u{:04x}", code); };
    if (length == 0) {
      escape(0xdc00u + static_cast<uint8_t>(s[0]));
      length = 1;
    } else if (point == '"' || point == '\\') {
      out += '\\';
      out += static_cast<char>(point);
    } else if (point == '\n') {
      out += "\\n";
    } else if (point == '\r') {
      out += "\\r";
    } else if (point == '\t') {
      out += "\\t";
    } else if (point < 0x20) {
      escape(point);
    } else if (format.escape_html &&
               (point == '<' || point == '>' || point == '&' || point == 0x2028 || point == 0x2029)) {
      escape(point);
    } else {
      out.append(s.substr(0, length));
    }
    s.remove_prefix(length);
  }
  out += '"';
}

void NewLine(int indent, int depth, std::string& out) {
  if (indent > 0) {
    out += '\n';
    out.append(static_cast<size_t>(indent) * static_cast<size_t>(depth), ' ');
  }
}

void DumpValue(const Json& value, const Json::Format& format, int depth, std::string& out);

template <class Items, class F>
void DumpItems(const Items& items, char open, char close, const Json::Format& format, int depth, std::string& out,
               F&& dump_item) {
  out += open;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += ',';
    first = false;
    NewLine(format.indent, depth + 1, out);
    dump_item(item);
  }
  if (!first) NewLine(format.indent, depth, out);
  out += close;
}

void DumpObject(const Json::Object& object, const Json::Format& format, int depth, std::string& out) {
  std::vector<const Json::Member*> members;
  members.reserve(object.size());
  for (const auto& member : object) members.push_back(&member);
  if (format.sort_keys) {
    std::stable_sort(members.begin(), members.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
  }
  DumpItems(members, '{', '}', format, depth, out, [&](const Json::Member* member) {
    DumpString(member->first, format, out);
    out += format.indent > 0 ? ": " : ":";
    DumpValue(member->second, format, depth + 1, out);
  });
}

void DumpValue(const Json& value, const Json::Format& format, int depth, std::string& out) {
  if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_int()) {
    out += std::to_string(value.as_int());
  } else if (value.is_number()) {
    char buffer[32];
    double number = value.as_double();
    if (!std::isfinite(number)) number = 0;
    auto end = std::to_chars(buffer, buffer + sizeof(buffer), number).ptr;
    out.append(buffer, end);
  } else if (value.is_string()) {
    DumpString(value.as_string(), format, out);
  } else if (value.is_array()) {
    DumpItems(value.as_array(), '[', ']', format, depth, out,
              [&](const Json& item) { DumpValue(item, format, depth + 1, out); });
  } else {
    DumpObject(value.as_object(), format, depth, out);
  }
}

}  // namespace

Result<Json> Json::Parse(std::string_view text) {
  std::optional<JsonBytes> bytes = JsonBytes::In(text);
  if (bytes) text = bytes->text();
  Builder builder(bytes ? &*bytes : nullptr);
  bool ok = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  if (!ok) {
    return Invalid("{}", builder.error().empty() ? "malformed JSON" : builder.error());
  }
  return std::move(builder.result());
}

Json Json::Strings(const std::vector<std::string>& items) { return Json(Array(items.begin(), items.end())); }

int64_t Json::as_int() const {
  if (is_int()) return std::get<int64_t>(value_);
  // A double beyond the range has no defined conversion, and documents from registries hold any.
  double number = std::get<double>(value_);
  if (!(number > -0x1p63)) return std::numeric_limits<int64_t>::min();
  if (number >= 0x1p63) return std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(number);
}

double Json::as_double() const {
  return is_int() ? static_cast<double>(std::get<int64_t>(value_)) : std::get<double>(value_);
}

const Json* Json::Find(std::string_view key) const {
  if (!is_object()) return nullptr;
  const Object& object = as_object();
  for (auto it = object.rbegin(); it != object.rend(); ++it) {
    if (it->first == key) return &it->second;
  }
  return nullptr;
}

Json* Json::Find(std::string_view key) { return const_cast<Json*>(static_cast<const Json*>(this)->Find(key)); }

std::string Json::GetString(std::string_view key, std::string_view fallback) const {
  const Json* value = Find(key);
  return value && value->is_string() ? value->as_string() : std::string(fallback);
}

int64_t Json::GetInt(std::string_view key, int64_t fallback) const {
  const Json* value = Find(key);
  return value && value->is_number() ? value->as_int() : fallback;
}

bool Json::GetBool(std::string_view key, bool fallback) const {
  const Json* value = Find(key);
  return value && value->is_bool() ? value->as_bool() : fallback;
}

std::vector<std::string> Json::GetStrings(std::string_view key) const {
  std::vector<std::string> out;
  for (const Json& item : GetArray(key)) {
    if (item.is_string()) out.push_back(item.as_string());
  }
  return out;
}

const Json::Array& Json::GetArray(std::string_view key) const {
  static const Array kEmpty;
  const Json* value = Find(key);
  return value && value->is_array() ? value->as_array() : kEmpty;
}

const Json::Object& Json::GetObject(std::string_view key) const {
  static const Object kEmpty;
  const Json* value = Find(key);
  return value && value->is_object() ? value->as_object() : kEmpty;
}

Json& Json::Set(std::string_view key, Json value) {
  if (is_null()) value_ = Object();
  if (Json* old = Find(key)) {
    *old = std::move(value);
  } else {
    as_object().emplace_back(std::string(key), std::move(value));
  }
  return *this;
}

Json& Json::SetIf(bool condition, std::string_view key, Json value) {
  return condition ? Set(key, std::move(value)) : *this;
}

Json& Json::Append(Json value) {
  if (is_null()) value_ = Array();
  as_array().push_back(std::move(value));
  return *this;
}

void Json::Erase(std::string_view key) {
  if (is_object()) std::erase_if(as_object(), [&](const Member& m) { return m.first == key; });
}

std::string Json::Dump(const Format& format) const {
  std::string out;
  DumpValue(*this, format, 0, out);
  return out;
}

}  // namespace varve
