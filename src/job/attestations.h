// What a build attests of itself: SLSA provenance from its graph, SBOMs from a scanner that looks at its
// results (reference exporters.md §9). The scanner is a step of the graph like any other: it runs once as long
// as it and what it looks at stay the same.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "attest/provenance.h"
#include "dockerfile/lower_platforms.h"
#include "engine/engine.h"
#include "export/image.h"
#include "job/build_context.h"
#include "job/build_flags.h"
#include "job/cache_offer.h"
#include "source/image.h"

namespace varve::job {

// What ran, where that is known to others alone: several builds may have run as one graph.
struct BuiltGraph {
  const graph::Graph* graph = nullptr;
  attest::SourcePins pins = {};
  Timestamp started = {};
};

// What a client knows of its build (attest/provenance.h says what each is).
struct ClientFacts {
  attest::Invocation asked;
  std::optional<attest::Invocation> client;
  std::string frontend_version;
  std::vector<std::string> locals;
  Json read_by;  // the Dockerfile: SourceFile::read_by
  Json environment;
};

// What an output of a step consists of; nothing for one that is not known here. The graph and the images must
// outlive it.
using LayersOf = std::function<std::vector<DiffId>(const graph::Ref&)>;
LayersOf LayersOfSteps(const graph::Graph& graph, StepRecords records,
                       const std::vector<source::ResolvedImage>& images);

// Adds a step per platform that scans its result; the Refs are of what the scanners write. Nothing is
// added unless an SBOM is asked for.
Result<std::vector<graph::Ref>> AddScans(const attest::Request& request, dockerfile::LoweredPlatforms& lowered,
                                         source::ImageStore& images, graph::ResolveMode mode, std::stop_token stop);

// The provenance of one platform's result. Without a client: of the flags.
Result<attest::Attestation> ProvenanceOf(const attest::ProvenanceRequest& asked, const BuildFlags& flags,
                                         const BuildContext& context, const dockerfile::Lowered& lowered,
                                         const engine::Outcome& outcome, const BuiltGraph& built,
                                         const LayersOf& layers_of, const ClientFacts* client = nullptr);

// Names one run of a build.
std::string RandomInvocation();

// The SBOMs that a scanner wrote: its in-toto statements, the result's own first.
Result<std::vector<attest::Attestation>> SbomsOf(const cache::Rootfs& scan, const exporter::ExportStores& stores);

}  // namespace varve::job
