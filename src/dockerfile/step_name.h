// The names under which steps are shown (reference dockerfile.md §9):
//
//   [linux/arm64 build 2/5] RUN make         PLATFORM only in builds for several platforms
//   [2/5] COPY . .                            STAGE only where the file has several stages
//   [internal] load build context
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "dockerfile/expand.h"
#include "oci/platform.h"

namespace varve::dockerfile {

// Numbers the steps of one stage.
class StepNumbers {
 public:
  // `total`: steps that count (reference §9). With none, names have no prefix.
  void Expect(size_t total) { total_ += total; }
  void SetStage(std::string stage) { stage_ = std::move(stage); }
  size_t total() const { return total_; }

  // The next number; "[build 2/5] ", or nothing. `platform` is the text of PLATFORM, may be empty.
  std::string Next(std::string_view platform, bool on_build);
  // The last number again: the second half of a step that is shown as two (LINK).
  std::string Again(std::string_view platform, bool on_build);

 private:
  std::string Prefix(std::string_view platform, bool on_build) const;

  std::string stage_;
  size_t total_ = 0;
  size_t index_ = 0;
};

// "linux/amd64", or "linux/amd64->arm64" where a stage that runs on `platform` was told in TARGET…
// variables to build for another one. `get` looks up the stage's variables.
std::string PlatformPrefix(const oci::Platform& platform, const GetVariable& get);

// `run mkdir x` as `RUN mkdir x`.
std::string UpperCaseInstruction(std::string_view text);

// The first line of a here-document, "..." after it when there are more.
std::string SummariseHeredoc(std::string_view body);

// "[internal] load metadata for docker.io/library/alpine:3", with the platform in builds for
// several.
std::string MetadataStepName(std::string_view reference, const std::optional<oci::Platform>& platform);

}  // namespace varve::dockerfile
