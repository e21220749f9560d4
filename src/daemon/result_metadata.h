// What a front end says about its result, beside the result itself (reference daemon-api.md §6): checked before
// anything runs or leaves this machine. It comes from clients and from front ends of others.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "export/output.h"
#include "oci/platform.h"

namespace varve::daemon {

using ResultMetadata = std::map<std::string, std::string>;

struct ResultPlatform {
  std::string id;  // the key of its reference and of its metadata
  oci::Platform platform;
};

// Those of "refs.platforms", in its order; else the one of "containerimage.config", else this machine's.
// kInvalid, in the words of the reference: an empty list, an entry without id or without a whole platform, a config
// that is null or says only half of its platform.
Result<std::vector<ResultPlatform>> PlatformsOf(const ResultMetadata& metadata);

// SOURCE_DATE_EPOCH in seconds, as the front end took it: of a platform ("linux/arm64", or empty), or of all.
std::optional<int64_t> EpochOf(const ResultMetadata& metadata, const std::string& platform);

// What a front end notes on the result's images, in the form of an output's attributes.
Result<std::vector<exporter::Output::Annotation>> AnnotationsOf(const ResultMetadata& metadata);

// Why the result's platforms are not those that were asked for ("linux/amd64,linux/arm64"; empty: this machine's);
// empty when they are. `separate`: the result has one reference a platform. What is asked for and cannot be read as
// platforms is the front end's to judge.
std::string PlatformWarning(const std::string& requested, bool separate, const std::vector<ResultPlatform>& have);

}  // namespace varve::daemon
