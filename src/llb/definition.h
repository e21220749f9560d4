// LLB, BuildKit's wire form of a build graph (solver/pb/ops.proto), to and from graph::Graph. Pure.
//
//   TRY_ASSIGN(llb::Decoded decoded, llb::Decode(request.definition()));
//   Build(decoded.graph, decoded.root);               // steps are named as the client named them
//   *answer.mutable_def() = llb::Encode(graph, root);
//
// An Op is named by the sha256 of its marshalled bytes, and inputs are named by that: a Definition has no
// cycles by construction. Its last Op is no operation, its one input is the result. An empty Definition
// is an empty file system.
//
// One Op may become several steps (a FileOp of which several intermediate results are used) or none
// (PassthroughOp, a Diff from nothing). What varve's graph says and LLB has no field for (a step's
// stage, the names of its ARGs, the selector of COPY --parents, …) travels in the Op's description
// under kStepNote, which other builders pass over; it is not part of the Op's digest.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/ops.pb.h"
#include "base/digest.h"
#include "base/result.h"
#include "graph/graph.h"
#include "graph/source_name.h"
#include "oci/platform.h"

namespace varve::llb {

inline constexpr char kStepNote[] = "dev.varve.step";
inline constexpr char kCustomName[] = "llb.customname";

// What one client may send. A message of BuildKit's protocol is at most 16 MiB anyway.
inline constexpr size_t kMaxOps = 100'000;
inline constexpr size_t kMaxDefinitionBytes = 64 << 20;
inline constexpr size_t kMaxDepth = 10'000;  // Ops on the way from the result to a source

struct ProgressGroup {
  std::string id, name;
  bool weak = false;
};

// An Op as the client knows it: progress is told by its digest.
struct Vertex {
  Digest digest;
  std::string name;  // as shown: llb.customname, else what the Op does
  std::map<std::string, std::string> description;
  std::optional<ProgressGroup> progress_group;
  std::optional<bool> export_cache;  // false: not to be part of exported caches
  std::vector<Digest> inputs;
};

struct Decoded {
  graph::Graph graph;
  std::optional<graph::Ref> root;        // none: an empty file system
  std::vector<graph::Ref> besides = {};  // what must be built as well: inputs of PassthroughOps that are no outputs
  std::vector<Vertex> vertices;          // that the result needs, inputs before users
  std::vector<size_t> vertex_of;         // by step: index into vertices
};

struct DecodeOptions {
  oci::Platform platform = oci::HostPlatform();  // of Ops that name none
  // By the digest of a SourceOp: what a source policy has made of it.
  std::map<std::string, graph::SourceName> replaced = {};
};

graph::SourceName SourceNameOf(const pb::SourceOp& source);
oci::Platform PlatformOf(const pb::Platform& platform);
void SetPlatform(const oci::Platform& platform, pb::Platform* to);

// kInvalid for what is malformed or more than the limits, and for what varve cannot do: the message says
// which Op and which field.
Result<Decoded> Decode(const pb::Definition& definition, const DecodeOptions& options = {});

// A mount without where its files come from (Mount::input, output): what a front end wants in a container is
// said by other references than an Op's.
Result<graph::Mount> DecodeMount(const pb::Mount& mount, const std::string& cwd = "/");

// What `root` needs. Equal graphs give equal bytes. Steps that are equal in everything that LLB says
// become one Op, under the name of the first.
pb::Definition Encode(const graph::Graph& graph, const std::optional<graph::Ref>& root);

// The definition's own bytes, the same for the same definition.
std::string Serialise(const google::protobuf::Message& message);

// kInvalid "network.host is not allowed" where a step asks for more than was granted: network.host,
// security.insecure, device, device=NAME (reference daemon-api.md §6).
Status CheckEntitlements(const graph::Graph& graph, const std::set<std::string>& granted);

}  // namespace varve::llb
