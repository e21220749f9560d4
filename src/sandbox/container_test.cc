#include "sandbox/container.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <future>
#include <list>
#include <thread>

#include "sandbox/sandbox_fixture.h"

namespace varve::sandbox {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A process of a container on a thread of its own, and this side of its streams.
class Process {
 public:
  Process(Container& container, Spec spec) : handle_([this] { started_.set_value(); }) {
    Streams streams;
    if (!spec.terminal) {
      int in[2], out[2];
      CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
      streams.in.Reset(in[0]);
      in_.Reset(in[1]);
      out_.Reset(out[0]);
      streams.out.Reset(out[1]);
      streams.err.Reset(fcntl(out[1], F_DUPFD_CLOEXEC, 0));
    }
    thread_ = std::jthread(
        [this, &container, spec = std::move(spec), streams = std::move(streams)](std::stop_token stop) mutable {
          outcome_ = container.Run(spec, std::move(streams), handle_, stop);
        });
  }

  void Signal(int signal) { handle_.Signal(signal); }
  void Write(std::string_view text) { ASSERT_TRUE(FdWriter(in_ ? in_.get() : handle_.terminal()).Write(text)); }
  void CloseInput() { in_.Reset(); }
  // Up to and with `end`, or all.
  std::string Read(std::string_view end = {}) {
    std::string text;
    char c;
    if (!out_) has_started_.wait();
    const int from = out_ ? out_.get() : handle_.terminal();
    while ((end.empty() || !text.ends_with(end)) && read(from, &c, 1) == 1) text += c;
    return text;
  }
  void Resize(unsigned rows, unsigned columns) { ASSERT_TRUE(handle_.Resize(rows, columns)); }
  void Stop() { thread_.request_stop(); }
  Result<Outcome>& End() {
    thread_.join();
    return outcome_;
  }

 private:
  std::promise<void> started_;
  std::shared_future<void> has_started_ = started_.get_future().share();
  ProcessHandle handle_;
  Fd in_, out_;
  Result<Outcome> outcome_ = Internal("has not run");
  std::jthread thread_;
};

class ContainerTest : public SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    if (!IsSkipped()) container_ = std::make_unique<Container>(runtime_, state_);
  }
  Process& Start(const std::string& script, bool terminal = false) {
    Spec spec = spec_;
    spec.args = {"/bin/sh", "-c", script};
    spec.terminal = terminal;
    return processes_.emplace_back(*container_, std::move(spec));
  }

  std::unique_ptr<Container> container_;
  std::list<Process> processes_;
};

TEST_P(ContainerTest, AProcessReadsAndWritesAndHasAnExitCode) {
  Process& process = Start("cat; exit 7");
  process.Write("through");
  process.CloseInput();
  EXPECT_EQ(process.Read(), "through");
  auto& outcome = process.End();
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(outcome->exit_code, 7);
  EXPECT_THAT(Leftovers(), IsEmpty());
}

TEST_P(ContainerTest, OthersJoinTheFirst) {
  Process& first = Start("echo first > /file; echo ready; cat");
  EXPECT_EQ(first.Read("\n"), "ready\n");
  Process& second = Start("cat /file; echo $$ > /pid; exit 3");
  EXPECT_EQ(second.Read(), "first\n");
  auto& outcome = second.End();
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(outcome->exit_code, 3);
  EXPECT_NE(*ReadFile(spec_.rootfs + "/pid"), "1\n");
  first.CloseInput();
  EXPECT_TRUE(first.End());
  EXPECT_THAT(Leftovers(), IsEmpty());
}

TEST_P(ContainerTest, OneThatJoinsIsAsConfinedAsTheFirst) {
  Process& first = Start("echo ready; cat");
  first.Read("\n");
  Process& second = Start("grep -E '^(CapBnd|CapEff|Seccomp):' /proc/self/status");
  Process& third = Start("grep -E '^(CapBnd|CapEff|Seccomp):' /proc/1/status");
  const std::string joined = second.Read();
  EXPECT_THAT(joined, HasSubstr("Seccomp:\t2"));
  EXPECT_EQ(joined, third.Read());
  second.End();
  third.End();
  first.CloseInput();
}

TEST_P(ContainerTest, AllThatJoinedEndWithTheFirst) {
  Process& first = Start("echo ready; cat");
  first.Read("\n");
  Process& second = Start("echo up; sleep 1000");
  second.Read("\n");
  first.CloseInput();
  EXPECT_TRUE(first.End());
  auto& outcome = second.End();
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(outcome->exit_code, 137);
  Process& late = Start("true");
  EXPECT_THAT(late.End().error().message, HasSubstr("has ended"));
  EXPECT_THAT(Leftovers(), IsEmpty());
}

TEST_P(ContainerTest, SignalsReachTheFirstAndThoseThatJoined) {
  const std::string script = "trap 'exit 42' HUP; echo ready; while :; do sleep 0.01; done";
  Process& first = Start(script);
  first.Read("\n");
  Process& second = Start(script);
  second.Read("\n");
  for (Process* process : {&second, &first}) {
    process->Signal(SIGHUP);
    auto& outcome = process->End();
    ASSERT_TRUE(outcome) << outcome.error().ToString();
    EXPECT_EQ(outcome->exit_code, 42);
    process->Signal(SIGKILL);  // nobody is hit any more
  }
}

TEST_P(ContainerTest, ASignalThatComesEarlyIsKept) {
  Process& first = Start("sleep 1000");
  first.Signal(SIGKILL);
  auto& outcome = first.End();
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(outcome->exit_code, 137);
}

TEST_P(ContainerTest, KillReachesTheFirstAndThoseThatJoined) {
  Process& first = Start("echo ready; sleep 1000");
  first.Read("\n");
  Process& second = Start("echo ready; exec sleep 1000");
  second.Read("\n");
  for (Process* process : {&second, &first}) {
    process->Signal(SIGKILL);
    auto& outcome = process->End();
    ASSERT_TRUE(outcome) << outcome.error().ToString();
    EXPECT_EQ(outcome->exit_code, 137);
    EXPECT_EQ(process->Read(), "");  // nobody holds its output
  }
}

TEST_P(ContainerTest, AStopEndsTheProcessAlone) {
  Process& first = Start("echo ready; cat; exit 5");
  first.Read("\n");
  Process& second = Start("echo ready; exec sleep 1000");
  second.Read("\n");
  second.Stop();
  EXPECT_EQ(second.End().error().code, Code::kCancelled);
  EXPECT_EQ(second.Read(), "");
  first.CloseInput();
  auto& outcome = first.End();
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_code, 5);
}

TEST_P(ContainerTest, AStopOfTheFirstEndsAll) {
  Process& first = Start("echo ready; sleep 1000");
  first.Read("\n");
  Process& second = Start("echo ready; sleep 1000");
  second.Read("\n");
  first.Stop();
  EXPECT_EQ(first.End().error().code, Code::kCancelled);
  ASSERT_TRUE(second.End());
  EXPECT_THAT(Leftovers(), IsEmpty());
}

TEST_P(ContainerTest, TerminalsHaveASizeThatChanges) {
  for (int i = 0; i < 2; ++i) {  // of the first, and of one that joins
    Process& process = Start(
        "test -t 0 && test -t 2 && echo ready; "
        "until test \"$(stty size 2>/dev/null)\" = '40 80'; do sleep 0.01; done; echo resized; "
        "while :; do read x; echo got $x; done",
        true);
    EXPECT_EQ(process.Read("\n"), "ready\r\n");
    process.Resize(40, 80);
    EXPECT_EQ(process.Read("\n"), "resized\r\n");
    process.Write("hello\n");
    EXPECT_THAT(process.Read("got hello\r\n"), HasSubstr("hello\r\n"));
  }
  processes_.front().Stop();
}

TEST_P(ContainerTest, AProgramThatIsNotThereIsAnErrorOfItsProcess) {
  Process& first = Start("echo ready; cat; exit 5");
  first.Read("\n");
  Spec spec = spec_;
  spec.args = {"/no/such/program"};
  Process& second = processes_.emplace_back(*container_, spec);
  EXPECT_EQ(second.End().error().code, Code::kExec);
  first.CloseInput();
  EXPECT_EQ(first.End()->exit_code, 5);
  Container other(runtime_, state_);
  Process alone(other, spec);
  EXPECT_EQ(alone.End().error().code, Code::kExec);
  EXPECT_THAT(Leftovers(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Runtimes, ContainerTest, testing::Values(RuntimeKind::kCrun, RuntimeKind::kRunc),
                         [](const auto& of) { return of.param == RuntimeKind::kCrun ? "Crun" : "Runc"; });

}  // namespace
}  // namespace varve::sandbox
