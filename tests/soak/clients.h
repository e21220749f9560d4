// Clients of a daemon, good and bad ones. Each has its own connection, as separate programs have.
#pragma once

#include <grpcpp/channel.h>

#include <cstdint>
#include <memory>
#include <string>

namespace varve::soak {

struct BuildPlan {
  std::string directory;   // the client's context; it is made
  std::string shared_key;  // as docker's client has one for each of its directories
  std::string dockerfile;
  std::string content;  // of a.txt
};

// A connection of its own, with nothing shared.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);

// Empty: the build is done. Else what its client was told.
std::string Build(const std::string& address, const BuildPlan& plan);
// How clients end before their builds do.
enum class Leave { kCancelCall, kKillSession, kCloseSession };
void BuildAndLeave(const std::string& address, const BuildPlan& plan, Leave how, int after_milliseconds);
// A context without end, until `bytes` of it are sent; then the client is gone.
void UploadAndDie(const std::string& address, const BuildPlan& plan, uint64_t bytes);

// A session that does nothing, ended in one of several ways: `number` decides which, and whether it has a connection
// and a server of its own, as programs have, or is one of many on `shared`. The daemon has the same work with either;
// that of a whole client is ten times as much.
void OpenAndDrop(const std::string& address, const std::shared_ptr<grpc::Channel>& shared, uint64_t number);

}  // namespace varve::soak
