#include "exec/secrets.h"

#include <cstdlib>

#include "base/fd.h"
#include "base/strings.h"

namespace varve::exec {

namespace {
constexpr uint64_t kMaxSecret = 500 << 10;
constexpr size_t kMaxHeld = 64 << 10;  // a line longer than this is passed on in parts
}  // namespace

Result<std::optional<std::string>> Secrets::Get(const std::string& id) const {
  auto it = sources_.find(id);
  if (it == sources_.end()) {
    return elsewhere_ ? elsewhere_(id) : Result<std::optional<std::string>>(std::nullopt);
  }
  if (!it->second.variable.empty()) {
    const char* value = std::getenv(it->second.variable.c_str());
    if (value == nullptr) return std::optional<std::string>();
    return std::optional<std::string>(value);
  }
  auto text = ReadFile(it->second.path, kMaxSecret);
  if (!text) {
    Error error = std::move(text).error();
    if (error.code == Code::kInvalid) error.hint = "secrets are at most 500 KiB";
    return std::move(error).With(fmt::format("secret \"{}\"", id));
  }
  return std::optional<std::string>(std::move(*text));
}

Status Secrets::Check() const {
  for (const auto& [id, source] : sources_) {
    if (!source.path.empty()) TRY(Get(id));
  }
  return Ok();
}

MaskingSink::MaskingSink(engine::StepSink& out, std::vector<std::string> values) : out_(out) {
  for (const std::string& value : values) {
    // A file's value ends in a newline, what is printed of it may not; each line counts alone.
    for (const std::string& line : Split(value, '\n')) {
      std::string trimmed(TrimSpace(line));
      if (trimmed.size() >= 4) values_.push_back(std::move(trimmed));
    }
  }
}

void MaskingSink::Log(int stream, std::string_view data) {
  if (values_.empty()) return out_.Log(stream, data);
  std::string& held = held_[stream];
  held += data;
  size_t newline = held.rfind('\n');
  size_t end = newline == held.npos ? (held.size() > kMaxHeld ? held.size() : 0) : newline + 1;
  if (end == 0) return;
  std::string text = held.substr(0, end);
  held.erase(0, end);
  for (const std::string& value : values_) text = ReplaceAll(text, value, "*****");
  out_.Log(stream, text);
}

void MaskingSink::Flush() {
  for (int stream : {1, 2}) {
    std::string text = std::exchange(held_[stream], {});
    for (const std::string& value : values_) text = ReplaceAll(text, value, "*****");
    if (!text.empty()) out_.Log(stream, text);
  }
}

}  // namespace varve::exec
