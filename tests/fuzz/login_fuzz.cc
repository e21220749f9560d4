// What decides who we are to a registry: its challenge, docker's config.json, registries.json, and
// its refusals, which are shown.
//
// The first byte chooses the parser; the rest is its input.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "registry/answer.h"
#include "registry/challenge.h"
#include "registry/config.h"
#include "registry/credentials.h"

namespace {

using namespace varve;            // NOLINT
using namespace varve::registry;  // NOLINT

void FuzzChallenge(std::string_view text) {
  for (const Challenge& challenge : ParseChallenges({text, "Basic realm=\"x\""})) {
    CHECK(!challenge.scheme.empty());
    for (const auto& [name, value] : challenge.parameters) CHECK(!name.empty());
  }
}

// The directory of a config.json, removed at the end.
class ConfigDirectory {
 public:
  ConfigDirectory() {
    CHECK(mkdtemp(path_.data()) != nullptr);
    // A config names programs to run; here there are none.
    setenv("PATH", path_.c_str(), 1);
  }
  ~ConfigDirectory() {
    unlink((path_ + "/config.json").c_str());
    rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/varve-login-fuzz-XXXXXX";
};

void FuzzDockerConfig(std::string_view text) {
  static ConfigDirectory directory;
  Fd file(open((directory.path() + "/config.json").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600));
  CHECK(file && FdWriter(file.get()).Write(text).has_value());
  CredentialStore store(directory.path());
  for (const char* host : {"docker.io", "registry.example.com:5000"}) {
    auto found = store.Find(host, {});
    if (found && *found) CHECK(!(*found)->username.empty() || !(*found)->identity_token.empty());
  }
}

void FuzzRegistries(std::string_view text) {
  auto config = Config::Parse(text);
  if (!config) return;
  for (const char* host : {"docker.io", "registry.example.com:5000", "localhost"}) {
    auto endpoints = config->Endpoints(host);
    CHECK(!endpoints.empty() && endpoints.back().url == config->Origin(host).url);
  }
}

void FuzzRefusal(std::string_view text) {
  std::string shown = RefusalText(text);
  CHECK(shown.size() <= 300);
  // A terminal takes orders from control characters.
  for (unsigned char c : shown) CHECK(c >= 0x20 && c != 0x7f);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'c') FuzzChallenge(input);
  if (data[0] == 'd') FuzzDockerConfig(input);
  if (data[0] == 'r') FuzzRegistries(input);
  if (data[0] == 'e') FuzzRefusal(input);
  return 0;
}
