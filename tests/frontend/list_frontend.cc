// A front end of a language that only tests speak, to be run from an image: each line of the file is `NAME TEXT` and
// makes a file of the result. A line `break NAME` ends with an error about that line, `crash TEXT` without any result.
//
// As all front ends that are images, it calls LLBBridge over its standard input and output and finds in the
// environment what it is asked. It takes its standard input for a socket, which pipes of another builder are not.
#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "api/gateway.grpc.pb.h"
#include "base/strings.h"
#include "llb/definition.h"

extern char** environ;

namespace varve {
namespace {

namespace gateway = moby::buildkit::v1::frontend;
using Stub = gateway::LLBBridge::Stub;

std::map<std::string, std::string> ReadAttributes() {
  std::map<std::string, std::string> attributes;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string text = *entry;
    if (!text.starts_with("BUILDKIT_FRONTEND_OPT_")) continue;
    std::string value = text.substr(text.find('=') + 1);
    attributes[value.substr(0, value.find('='))] = value.substr(value.find('=') + 1);
  }
  return attributes;
}

template <class In, class Out>
grpc::Status Call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const In&, Out*), const In& in,
                  Out& out) {
  grpc::ClientContext context;
  return (stub.*method)(&context, in, &out);
}

grpc::Status Solve(Stub& stub, graph::Step step, gateway::Ref& ref) {
  graph::Graph graph;
  graph.Add(std::move(step));
  gateway::SolveRequest request;
  *request.mutable_definition() = llb::Encode(graph, graph::Ref{0, 0});
  request.set_allow_result_return(true);
  gateway::SolveResponse response;
  grpc::Status status = Call(stub, &Stub::Solve, request, response);
  ref = response.result().ref();
  return status;
}

grpc::Status Build(Stub& stub, gateway::Result& result) {
  auto attributes = ReadAttributes();
  const std::string file = attributes.contains("filename") ? attributes["filename"] : "Dockerfile";
  const char* session = getenv("BUILDKIT_SESSION_ID");
  gateway::Ref ref;
  grpc::Status status = Solve(stub,
                              {.op = graph::LocalSource{.name = "dockerfile",
                                                        .follow_paths = {file},
                                                        .session = session == nullptr ? "" : session},
                               .name = "[internal] load the list " + file},
                              ref);
  if (!status.ok()) return status;
  gateway::ReadFileRequest read;
  read.set_ref(ref.id());
  read.set_file_path(file);
  gateway::ReadFileResponse list;
  status = Call(stub, &Stub::ReadFile, read, list);
  if (!status.ok()) return status;

  graph::FileOp files{.base = -1, .actions = {}};
  for (const std::string& line : Split(list.data(), '\n')) {
    if (line.empty() || line.starts_with('#')) continue;
    const std::string name = line.substr(0, line.find(' ')), text = line.substr(std::min(line.size(), name.size() + 1));
    if (name == "break") return {grpc::StatusCode::INVALID_ARGUMENT, "the list is broken at " + text};
    if (name == "crash") {
      fprintf(stderr, "%s\n", text.c_str());
      exit(3);
    }
    files.actions.push_back(graph::MakeFile{.path = "/" + name, .data = text + "\n"});
  }
  const std::string title = fmt::format("[list] {} files", files.actions.size());
  return Solve(stub, {.op = std::move(files), .name = title}, *result.mutable_ref());
}

int Main() {
  fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
  Stub stub(grpc::CreateInsecureChannelFromFd("stdio", STDIN_FILENO));
  gateway::ReturnRequest request;
  const grpc::Status status = Build(stub, *request.mutable_result());
  if (!status.ok()) {
    request.clear_result();
    request.mutable_error()->set_code(status.error_code());
    request.mutable_error()->set_message(status.error_message());
  }
  gateway::ReturnResponse response;
  return Call(stub, &Stub::Return, request, response).ok() ? 0 : 1;
}

}  // namespace
}  // namespace varve

int main() { return varve::Main(); }
