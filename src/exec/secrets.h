// Secrets of a build: read when a step needs them, never stored, never in a key, a record or a log.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/interfaces.h"

namespace varve::exec {

// Where a secret's value is. Values are at most 500 KiB (reference cli.md §2).
struct SecretSource {
  std::string path;      // a file, or
  std::string variable;  // an environment variable
};

// Finds a secret elsewhere, at the client of a daemon. Called from any thread; nothing: not given.
using SecretLookup = std::function<Result<std::optional<std::string>>(const std::string& id)>;

class Secrets {
 public:
  // `elsewhere` is asked for what is not among the sources.
  explicit Secrets(std::map<std::string, SecretSource> sources, SecretLookup elsewhere = nullptr)
      : sources_(std::move(sources)), elsewhere_(std::move(elsewhere)) {}

  // Nothing when no such secret was given. kNotFound when its file is missing.
  Result<std::optional<std::string>> Get(const std::string& id) const;

  // That files exist and are small enough: checked before a build starts, so that a typo does not
  // show after ten minutes.
  Status Check() const;

 private:
  std::map<std::string, SecretSource> sources_;
  SecretLookup elsewhere_;
};

// Passes output on with the given values masked. Output is held back to the end of a line, since a
// value may be cut anywhere. Call Flush at the end. Values shorter than four characters are not
// masked: they would mask ordinary text.
class MaskingSink final : public engine::StepSink {
 public:
  MaskingSink(engine::StepSink& out, std::vector<std::string> values);
  void Log(int stream, std::string_view data) override;
  void Progress(const std::string& id, uint64_t current, uint64_t total, bool done) override {
    out_.Progress(id, current, total, done);
  }
  void Flush();

 private:
  engine::StepSink& out_;
  std::vector<std::string> values_;
  std::string held_[3];  // by stream
};

}  // namespace varve::exec
