// Why a build failed, as clients of BuildKit's API are told: a gRPC status with typed details, from which
// they print the lines of the Dockerfile (reference daemon-api.md §7).
//
// Each detail is an Any whose type_url is "github.com/moby/buildkit/<name>" and whose value is JSON, the
// way Go's encoding/json writes the messages of api/errdefs.proto.
#pragma once

#include <grpcpp/support/status.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/errdefs.pb.h"
#include "api/ops.pb.h"
#include "api/rpc_status.pb.h"
#include "base/error.h"
#include "daemon/failed_op.h"
#include "dockerfile/span.h"
#include "graph/graph.h"

namespace varve::daemon {

// A place in a file that the error is about.
struct FailurePlace {
  std::string file;
  std::string text;  // all of it
  dockerfile::Span span = {};
  std::string language = "Dockerfile";
  std::optional<pb::Definition> origin = {};  // how the file was read
  std::vector<pb::Range> ranges = {};         // instead of `span`: as a client has said them
};

struct Failure {
  Error error;
  std::optional<FailurePlace> place = {};
  std::vector<FailurePlace> more_places = {};      // that it is about as well
  std::string vertex = {};                         // digest of the one that failed; may be empty
  std::string subrequest = {};                     // a question that this front end does not answer
  std::vector<std::string> deny_messages = {};     // of the client's source policy, for its user
  std::string capability = {};                     // that the client's front end needs and this one has not
  std::optional<int> exit_code = {};               // of a process that failed
  std::shared_ptr<const FailedOp> op = {};         // of `vertex`
  std::optional<errdefs::Solve> solve = {};        // `op` with names by which its front end may look into it
  std::optional<google::rpc::Status> status = {};  // as a front end has told it, with its details: instead of all else
};

// A file that `step` was to read and that is not there, in the words that clients and their users look for: BuildKit
// notices when it hashes what is to be copied, or, of what it does not hash, when it copies.
void NameMissingFile(const graph::Step& step, Failure& failure);

google::rpc::Status ToProto(const Failure& failure);
// With the detail that clients show with --debug: this program, and the instruction in place of calls.
google::rpc::Status WithStack(google::rpc::Status status);
// Over the wire, with the details in it.
grpc::Status ToGrpc(const google::rpc::Status& status);
grpc::Status ToGrpc(const Error& error);

// What came from the other side.
Error FromGrpc(const grpc::Status& status);

}  // namespace varve::daemon
