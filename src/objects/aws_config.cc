#include "objects/aws_config.h"

#include <cstdlib>

#include "base/fd.h"
#include "base/strings.h"

namespace varve::objects {

namespace {

// The content, empty when there is no such file.
Result<std::string> ReadIfThere(const std::string& path) {
  auto text = ReadFile(path, 1 << 20);
  if (!text && text.error().code == Code::kNotFound) return std::string();
  return text;
}

}  // namespace

Environment ProcessEnvironment() {
  return [](const std::string& name) -> std::string {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? "" : value;
  };
}

Result<std::map<std::string, AwsProfile>> ParseAwsFile(std::string_view text) {
  std::map<std::string, AwsProfile> profiles;
  AwsProfile* current = nullptr;
  int number = 0;
  for (const std::string& line : Split(text, '\n')) {
    ++number;
    std::string_view content = TrimSpace(line);
    if (content.empty() || content[0] == '#' || content[0] == ';') continue;
    // An indented line is part of a nested setting such as "s3 =".
    if (line[0] == ' ' || line[0] == '\t') continue;
    if (content[0] == '[') {
      size_t end = content.find(']');
      if (end == content.npos) return Invalid("line {}: \"[\" without \"]\"", number);
      std::string_view name = TrimSpace(content.substr(1, end - 1));
      constexpr std::string_view kPrefix = "profile ";
      if (name.starts_with(kPrefix)) name = TrimSpace(name.substr(kPrefix.size()));
      current = &profiles[std::string(name)];
      continue;
    }
    size_t equals = content.find('=');
    if (equals == content.npos || current == nullptr) {
      return Invalid("line {}: neither [profile] nor name = value", number);
    }
    (*current)[ToLower(TrimSpace(content.substr(0, equals)))] = TrimSpace(content.substr(equals + 1));
  }
  return profiles;
}

Result<AwsProfile> ReadAwsProfile(const Environment& environment, const std::string& name) {
  std::string wanted = name.empty() ? environment("AWS_PROFILE") : name;
  const bool by_name = !wanted.empty();
  if (!by_name) wanted = "default";
  AwsProfile merged;
  bool found = false;
  for (auto [variable, file] :
       {std::pair("AWS_SHARED_CREDENTIALS_FILE", "credentials"), std::pair("AWS_CONFIG_FILE", "config")}) {
    std::string path = environment(variable);
    if (path.empty()) {
      std::string home = environment("HOME");
      if (home.empty()) continue;
      path = home + "/.aws/" + file;
    }
    TRY_ASSIGN(std::string text, ReadIfThere(path));
    auto profiles = ParseAwsFile(text);
    if (!profiles) return std::move(profiles).error().With(path);
    auto profile = profiles->find(wanted);
    if (profile == profiles->end()) continue;
    found = true;
    merged.insert(profile->second.begin(), profile->second.end());
  }
  if (by_name && !found) {
    Error error = Invalid("no AWS profile \"{}\"", wanted);
    error.hint = "add it to ~/.aws/credentials or ~/.aws/config, or unset AWS_PROFILE";
    return error;
  }
  return merged;
}

}  // namespace varve::objects
