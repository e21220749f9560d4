// LLBBridge.ExecProcess: the processes of a job's containers, their input, output, terminals, signals and ends as
// messages of one stream (reference daemon-api.md, gateway.proto's ExecMessage).
#pragma once

#include "api/gateway.grpc.pb.h"
#include "daemon/frontend_containers.h"

namespace varve::daemon {

using ExecMessages = grpc::ServerReaderWriter<gateway::ExecMessage, gateway::ExecMessage>;

// Returns when the client has ended the stream, by which it ends the processes that it has begun there.
grpc::Status ServeExecProcess(ExecMessages& stream, FrontendContainers& containers);

}  // namespace varve::daemon
