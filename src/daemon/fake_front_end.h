// For tests: a front end in the client, which makes calls of LLBBridge about one build, as the build function of a Go
// program does.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "api/gateway.grpc.pb.h"

namespace varve::daemon {

class FakeFrontEnd {
 public:
  using Stub = moby::buildkit::v1::frontend::LLBBridge::Stub;

  // `build`: SolveRequest.ref, whose front end this is.
  FakeFrontEnd(const std::shared_ptr<grpc::Channel>& channel, std::string build)
      : stub_(moby::buildkit::v1::frontend::LLBBridge::NewStub(channel)), build_(std::move(build)) {}

  Stub& stub() const { return *stub_; }
  std::unique_ptr<grpc::ClientContext> Context() const {
    auto context = std::make_unique<grpc::ClientContext>();
    context->AddMetadata("buildkit-controlapi-buildid", build_);
    return context;
  }
  // Call(&Stub::ReadFile, request, response)
  template <class In, class Out>
  grpc::Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const In&, Out*), const In& in, Out& out) const {
    return (stub_.get()->*method)(Context().get(), in, &out);
  }

  // Answered once the daemon knows of the build.
  grpc::Status Ping() const {
    moby::buildkit::v1::frontend::PongResponse pong;
    return Call(&Stub::Ping, {}, pong);
  }
  moby::buildkit::v1::frontend::Result Solve(const pb::Definition& definition) const {
    moby::buildkit::v1::frontend::SolveRequest request;
    *request.mutable_definition() = definition;
    request.set_allow_result_return(true);
    moby::buildkit::v1::frontend::SolveResponse response;
    const grpc::Status status = Call(&Stub::Solve, request, response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.result();
  }
  // The build goes on with this; by default with nothing.
  grpc::Status Return(const moby::buildkit::v1::frontend::Result& result = {}) const {
    moby::buildkit::v1::frontend::ReturnRequest request;
    *request.mutable_result() = result;
    moby::buildkit::v1::frontend::ReturnResponse response;
    return Call(&Stub::Return, request, response);
  }

 private:
  std::unique_ptr<Stub> stub_;
  const std::string build_;
};

}  // namespace varve::daemon
