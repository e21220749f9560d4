#include "daemon/client_build.h"

#include "base/strings.h"

namespace varve::daemon {

void TellCacheList(const std::optional<oci::Descriptor>& list, Json& metadata) {
  if (list) metadata.Set("cache.manifest", oci::ToJson(*list).Dump());
}

std::vector<exporter::Output> OutputsFor(std::vector<exporter::Output> outputs, const WantedResult& first) {
  for (exporter::Output& output : outputs) {
    output.annotations.insert(output.annotations.begin(), first.annotations.begin(), first.annotations.end());
    if (!output.source_date_epoch && !output.no_epoch) output.source_date_epoch = first.epoch;
    if (!first.image_name.empty() && output.names == std::vector<std::string>{"*"}) {
      output.names.clear();
      for (std::string_view name : Split(first.image_name, ',')) output.names.emplace_back(name);
    }
  }
  return outputs;
}

attest::ProvenanceRequest HistoryRequest(const attest::Request& asked) {
  return {.builder_id = asked.provenance ? asked.provenance->builder_id : ""};
}

Result<oci::ImageConfig> ConfigOf(const WantedResult& wanted) {
  auto config = oci::ImageConfig::Parse(wanted.config);
  if (!config) return Error(std::move(config).error()).With("containerimage.config");
  return config;
}

Result<exporter::BuildResult> InputsOf(const std::vector<ResultPart>& parts,
                                       const std::vector<const LlbBuild*>& besides) {
  exporter::BuildResult result{.multi_platform = parts.size() > 1 || !parts[0].wanted.id.empty()};
  for (const ResultPart& part : parts) {
    TRY_ASSIGN(auto input, part.build->InputOf(part.wanted, besides));
    result.platforms.push_back(std::move(input));
  }
  return result;
}

}  // namespace varve::daemon
