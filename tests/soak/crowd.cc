#include "crowd.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "clients.h"

namespace varve::soak {

namespace {

constexpr int kConnections = 32;  // of sessions at once

// Runs work(0), …, work(count - 1), so many at once.
void InParallel(int threads, int count, const std::function<void(int)>& work) {
  std::atomic<int> next = 0;
  std::vector<std::jthread> pool;
  for (int i = 0; i < std::min(threads, count); ++i) {
    pool.emplace_back([&] {
      for (int n = next++; n < count; n = next++) work(n);
    });
  }
}

BuildPlan PlanOf(const Crowd& crowd, int client) {
  const bool steps = std::getenv("VARVE_REGISTRIES") != nullptr;
  std::string dockerfile = steps ? "FROM busybox\nCOPY a.txt /a.txt\nRUN sleep 0.1 && cp /a.txt /b.txt\n"
                                 : "FROM scratch\nCOPY a.txt /a.txt\n";
  // Clients of ten projects. Half of the builds of a round have the same content, and meet in their steps.
  return {.directory = fmt::format("{}/{}", crowd.directory, client),
          .shared_key = fmt::format("project-{}", client % 10),
          .dockerfile = std::move(dockerfile),
          .content = fmt::format("round {} of client {}\n", crowd.round, client % 2 == 0 ? 0 : client)};
}

// False: it stayed, and has no build.
bool BuildAs(const Crowd& crowd, int client) {
  const BuildPlan plan = PlanOf(crowd, client);
  switch (client % 10) {
    case 1:
      BuildAndLeave(crowd.address, plan, Leave::kCancelCall, client * 7 % 400);
      return true;
    case 3:
      BuildAndLeave(crowd.address, plan, Leave::kKillSession, client * 11 % 400);
      return true;
    case 5:
      BuildAndLeave(crowd.address, plan, Leave::kCloseSession, client * 13 % 400);
      return true;
    case 7:
      UploadAndDie(crowd.address, plan, static_cast<uint64_t>(client) << 16);
      return true;
    default: {
      const std::string error = Build(crowd.address, plan);
      if (!error.empty()) fmt::print(stderr, "FAIL: round {}, client {}: {}\n", crowd.round, client, error);
      return error.empty();
    }
  }
}

}  // namespace

int LeavingEarly(int clients) {
  int leaving = 0;
  for (int client = 0; client < clients; ++client) {
    if (const int kind = client % 10; kind < 8 && kind % 2 == 1) ++leaving;
  }
  return leaving;
}

bool Run(const Crowd& crowd) {
  std::atomic<bool> good = true;
  InParallel(crowd.clients, crowd.clients, [&](int client) {
    if (!BuildAs(crowd, client)) good = false;
  });
  std::vector<std::shared_ptr<grpc::Channel>> shared;
  for (int i = 0; i < std::min(kConnections, crowd.sessions); ++i) shared.push_back(Connect(crowd.address));
  InParallel(kConnections, crowd.sessions, [&](int number) {
    OpenAndDrop(crowd.address, shared[static_cast<size_t>(number % kConnections)], static_cast<uint64_t>(number));
  });
  return good;
}

}  // namespace varve::soak
