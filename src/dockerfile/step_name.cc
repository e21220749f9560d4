#include "dockerfile/step_name.h"

#include <fmt/core.h>

#include "base/strings.h"

namespace varve::dockerfile {

std::string StepNumbers::Next(std::string_view platform, bool on_build) {
  if (total_ != 0) ++index_;
  return Prefix(platform, on_build);
}

std::string StepNumbers::Again(std::string_view platform, bool on_build) { return Prefix(platform, on_build); }

std::string StepNumbers::Prefix(std::string_view platform, bool on_build) const {
  if (total_ == 0) return "";
  std::string out = "[";
  if (!platform.empty()) out += fmt::format("{} ", platform);
  if (!stage_.empty()) out += stage_ + " ";
  out += fmt::format("{:>{}}/{}] ", index_, std::to_string(total_).size(), total_);
  if (on_build) out += "ONBUILD ";
  return out;
}

std::string PlatformPrefix(const oci::Platform& platform, const GetVariable& get) {
  std::string base = platform.ToString();
  oci::Platform target = platform;
  bool known = false;
  if (auto text = get("TARGETPLATFORM")) {
    if (auto parsed = oci::ParsePlatform(*text)) {
      target = *parsed;
      known = true;
    }
  }
  if (!known) {
    auto os = get("TARGETOS"), architecture = get("TARGETARCH"), variant = get("TARGETVARIANT");
    if (!os && !architecture && !variant) return base;
    target = {};
    target.os = os && !os->empty() ? *os : platform.os;
    target.architecture = architecture && !architecture->empty() ? *architecture : platform.architecture;
    target.variant = variant.value_or("");
  }
  target = oci::Normalise(target);
  if (target.os != platform.os) return base + "->" + target.ToString();
  if (target.architecture == platform.architecture) return base;
  base += "->" + target.architecture;
  if (!target.variant.empty()) base += "/" + target.variant;
  return base;
}

std::string UpperCaseInstruction(std::string_view text) {
  size_t end = text.find(' ');
  std::string out = ToUpper(text.substr(0, end));
  if (end != text.npos) out += text.substr(end);
  return out;
}

std::string SummariseHeredoc(std::string_view body) {
  std::string_view text = TrimSpace(body);
  size_t end = text.find('\n');
  if (end == text.npos) return std::string(text);
  std::string_view line = text.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return std::string(line) + "...";
}

std::string MetadataStepName(std::string_view reference, const std::optional<oci::Platform>& platform) {
  if (!platform) return fmt::format("[internal] load metadata for {}", reference);
  return fmt::format("[{} internal] load metadata for {}", platform->ToString(), reference);
}

}  // namespace varve::dockerfile
