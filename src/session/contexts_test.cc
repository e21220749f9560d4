#include "session/contexts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>

#include "session/rpc.h"
#include "session/testing/fake_client.h"
#include "session/testing/fake_daemon.h"
#include "session/testing/file_service.h"
#include "sys/open.h"
#include "sys/tempdir.h"

namespace varve::session {
namespace {

using testing::FakeClient;
using testing::FakeDaemon;
using testing::FileService;

class ContextsTest : public ::testing::Test {
 protected:
  ContextsTest() {
    temp_ = sys::TempDir::Create(sys::TemporaryRoot(), "contexts-").value();
    EXPECT_TRUE(sys::MkdirAll(temp_.path() + "/project"));
    Write("Dockerfile", "FROM scratch\n");
    files_.Share("context", temp_.path() + "/project");
    contexts_ = std::make_unique<Contexts>(temp_.path() + "/root");
    client_ = Connect("one");
    session_ = daemon_.sessions().Find("one", {}).value();
  }

  std::unique_ptr<FakeClient> Connect(const std::string& id) {
    return std::make_unique<FakeClient>(
        daemon_.Connect(), testing::FakeClientOptions{
                               .id = id, .services = {&files_}, .methods = {"/moby.filesync.v1.FileSync/DiffCopy"}});
  }
  void Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(temp_.path() + "/project/" + name, text));
  }
  std::string Read(const SyncedContext& context, const std::string& name) {
    return ReadFile(context.path() + "/" + name).value_or("(absent)");
  }

  sys::TempDir temp_;
  FileService files_;
  FakeDaemon daemon_;
  std::unique_ptr<Contexts> contexts_;
  std::unique_ptr<FakeClient> client_;
  std::shared_ptr<Session> session_;
};

TEST_F(ContextsTest, BringsTheFilesOfTheClient) {
  const auto context = contexts_->Sync(*session_, {}, {});
  ASSERT_TRUE(context) << context.error().ToString();
  EXPECT_EQ(Read(**context, "Dockerfile"), "FROM scratch\n");
}

TEST_F(ContextsTest, TheNextSessionOfTheProjectSendsWhatChanged) {
  Write("other", "x");
  ASSERT_TRUE(contexts_->Sync(*session_, {}, {}));
  Write("Dockerfile", "FROM scratch AS new\n");
  const auto client = Connect("two");
  const auto session = daemon_.sessions().Find("two", {}).value();
  const auto context = contexts_->Sync(*session, {}, {});
  ASSERT_TRUE(context);
  EXPECT_EQ((*context)->received().files, 1u);
  EXPECT_EQ(Read(**context, "Dockerfile"), "FROM scratch AS new\n");
  EXPECT_EQ(Read(**context, "other"), "x");
}

TEST_F(ContextsTest, ADirectoryInUseIsNotWrittenTo) {
  const auto first = contexts_->Sync(*session_, {}, {});
  ASSERT_TRUE(first);
  Write("Dockerfile", "FROM scratch AS new\n");
  const auto client = Connect("two");
  const auto second = contexts_->Sync(*daemon_.sessions().Find("two", {}).value(), {}, {});
  ASSERT_TRUE(second);
  EXPECT_NE((*first)->path(), (*second)->path());
  EXPECT_EQ(Read(**first, "Dockerfile"), "FROM scratch\n");
  EXPECT_EQ(Read(**second, "Dockerfile"), "FROM scratch AS new\n");
}

TEST_F(ContextsTest, OneQuestionOfASessionIsOneTransfer) {
  std::vector<std::future<Result<std::shared_ptr<const SyncedContext>>>> all;
  for (int i = 0; i < 8; ++i) {
    all.push_back(std::async(std::launch::async, [&] { return contexts_->Sync(*session_, {}, {}); }));
  }
  std::vector<std::shared_ptr<const SyncedContext>> results;
  for (auto& one : all) results.push_back(one.get().value());
  for (const auto& result : results) EXPECT_EQ(result->path(), results[0]->path());
  EXPECT_EQ(files_.transfers(), 1);
}

TEST_F(ContextsTest, OtherQuestionsAreOtherDirectories) {
  Write("sub.txt", "x");
  const auto all = contexts_->Sync(*session_, {}, {});
  const auto some = contexts_->Sync(*session_, {.shared_key_hint = "some", .exclude = {"sub.txt", "*.md"}}, {});
  ASSERT_TRUE(all && some);
  EXPECT_NE((*all)->path(), (*some)->path());
  EXPECT_EQ(files_.last_metadata("exclude-patterns"), (std::vector<std::string>{"sub.txt", "*.md"}));
  EXPECT_EQ(files_.last_metadata("dir-name"), (std::vector<std::string>{"context"}));
}

TEST_F(ContextsTest, PatternsThatAreNotAsciiAreEncoded) {
  ASSERT_TRUE(contexts_->Sync(*session_, {.include = {"ü b", "plain"}}, {}));
  EXPECT_EQ(files_.last_metadata("include-patterns"), (std::vector<std::string>{"%C3%BC+b", "plain"}));
  EXPECT_EQ(files_.last_metadata("include-patterns-encoded"), (std::vector<std::string>{"1"}));
}

TEST_F(ContextsTest, WhatIsNotSharedIsAnErrorInTheClientsWords) {
  const auto context = contexts_->Sync(*session_, {.name = "secret-place"}, {});
  ASSERT_FALSE(context);
  EXPECT_EQ(context.error().code, Code::kNotFound);
  EXPECT_EQ(context.error().message,
            "cannot read secret-place of the client: no access allowed to dir \"secret-place\"");
}

TEST_F(ContextsTest, AClientWithoutFilesSaysSo) {
  FakeClient bare(daemon_.Connect(), {.id = "bare"});
  const auto context = contexts_->Sync(*daemon_.sessions().Find("bare", {}).value(), {}, {});
  ASSERT_FALSE(context);
  EXPECT_EQ(context.error().message, "the client of this build does not offer /moby.filesync.v1.FileSync/DiffCopy");
}

TEST_F(ContextsTest, AClientThatIsKilledFailsTheTransferAndReleasesTheDirectory) {
  files_.StallAfter(0);
  auto context = std::async(std::launch::async, [&] { return contexts_->Sync(*session_, {}, {}); });
  files_.AwaitStall();
  client_->Kill();
  EXPECT_EQ(context.get().error().code, Code::kUnavailable);
  files_.StallAfter(-1);
  const auto client = Connect("two");
  const auto again = contexts_->Sync(*daemon_.sessions().Find("two", {}).value(), {}, {});
  ASSERT_TRUE(again) << again.error().ToString();
  EXPECT_TRUE((*again)->path().ends_with("/0"));
}

TEST_F(ContextsTest, AStopEndsATransfer) {
  files_.StallAfter(0);
  std::stop_source stop;
  auto context = std::async(std::launch::async, [&] { return contexts_->Sync(*session_, {}, stop.get_token()); });
  files_.AwaitStall();
  stop.request_stop();
  EXPECT_EQ(context.get().error().code, Code::kCancelled);
  files_.StallAfter(-1);
}

}  // namespace
}  // namespace varve::session
