// Builds as inputs of other builds: `docker buildx bake` gives a front end the result of another target as
// a definition (FrontendInputs), with its image config beside it (the attribute input-metadata:NAME).
//
//   TRY_ASSIGN(llb::Inputs inputs, llb::DecodeInputs(request.frontend_inputs(), request.frontend_attrs()));
//   lower_options.inputs = inputs.Lowered();          // for contexts "input:NAME"; `inputs` must outlive it
#pragma once

#include <map>
#include <optional>
#include <string>

#include "dockerfile/lower.h"
#include "llb/definition.h"
#include "oci/image_config.h"

namespace varve::llb {

struct Input {
  Decoded build;
  std::optional<oci::ImageConfig> config;
};

struct Inputs {
  std::map<std::string, Input> by_name;

  std::map<std::string, dockerfile::LoweredInput> Lowered() const;
};

using StringAttributes = google::protobuf::Map<std::string, std::string>;
using Definitions = google::protobuf::Map<std::string, pb::Definition>;

// kInvalid names the input that is malformed.
Result<Inputs> DecodeInputs(const Definitions& definitions, const StringAttributes& attributes,
                            const DecodeOptions& options = {});

// The text of input-metadata:NAME: a JSON object of base64 values (client/llb: map[string][]byte).
std::string InputMetadata(const oci::ImageConfig& config);

}  // namespace varve::llb
