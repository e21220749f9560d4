#include "session/receive_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <map>

#include "session/go_mode.h"
#include "session/send_tree.h"
#include "session/testing/packet_pipe.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "sys/tempdir.h"
#include "sys/testing/faulty_calls.h"

namespace varve::session {
namespace {

using fsutil::types::Packet;
using fsutil::types::Stat;
using testing::PacketPipe;

constexpr int64_t kTime = 1'600'000'000'123'456'789;

Stat File(const std::string& path, size_t size, int64_t time = kTime) {
  Stat stat;
  stat.set_path(path);
  stat.set_mode(0644);
  stat.set_size(static_cast<int64_t>(size));
  stat.set_mod_time(time);
  return stat;
}

Stat Dir(const std::string& path, uint32_t mode = 0755) {
  Stat stat = File(path, 0);
  stat.set_mode(mode | kGoDirectory);
  return stat;
}

Stat Symlink(const std::string& path, const std::string& target) {
  Stat stat = File(path, target.size());
  stat.set_mode(0777 | kGoSymlink);
  stat.set_linkname(target);
  return stat;
}

Stat HardLink(const std::string& path, const std::string& target) {
  Stat stat = File(path, 0);
  stat.set_linkname(target);
  return stat;
}

struct Sent {
  Stat stat;
  std::string content;
};

class ReceiveTreeTest : public ::testing::Test {
 protected:
  ReceiveTreeTest() {
    temp_ = sys::TempDir::Create(sys::TemporaryRoot(), "receive-").value();
    root_ = temp_.path() + "/root";
    EXPECT_EQ(::mkdir(root_.c_str(), 0700), 0);
  }

  // Sends the list and answers what is asked for, as a client does.
  Result<Received> Send(const std::vector<Sent>& entries, const ReceiveOptions& options = {},
                        const std::function<void(PacketStream&)>& instead_of_content = {}) {
    auto [ours, theirs] = PacketPipe::Make();
    auto result = std::async([&, stream = std::move(theirs)] {
      const Fd root = sys::OpenDir(root_).value();
      auto received = ReceiveTree(*stream, root.get(), options, {});
      stream->Cancel();
      return received;
    });
    asked_.clear();
    error_.clear();
    Packet packet;
    packet.set_type(Packet::PACKET_STAT);
    for (const Sent& entry : entries) {
      *packet.mutable_stat() = entry.stat;
      ours->Write(packet);
    }
    packet.clear_stat();
    ours->Write(packet);
    if (instead_of_content) instead_of_content(*ours);
    while (ours->Read(packet)) {
      if (packet.type() == Packet::PACKET_REQ) {
        const Sent& entry = entries.at(packet.id());
        asked_.push_back(entry.stat.path());
        Packet data;
        data.set_type(Packet::PACKET_DATA);
        data.set_id(packet.id());
        for (size_t at = 0; at < entry.content.size(); at += 32 << 10) {
          data.set_data(entry.content.substr(at, 32 << 10));
          ours->Write(data);
        }
        data.clear_data();
        ours->Write(data);
      } else if (packet.type() == Packet::PACKET_FIN) {
        ours->Write(packet);
      } else if (packet.type() == Packet::PACKET_ERR) {
        error_ = packet.data();
      }
    }
    return result.get();
  }

  void Mirror(const std::vector<Sent>& entries, const ReceiveOptions& options = {}) {
    const auto received = Send(entries, options);
    EXPECT_TRUE(received) << received.error().ToString();
  }

  std::string Content(const std::string& path) { return ReadFile(root_ + "/" + path).value_or("(absent)"); }
  sys::FileStat StatOf(const std::string& path) { return sys::Statx(root_ + "/" + path).value(); }
  bool Exists(const std::string& path) { return sys::Statx(root_ + "/" + path).has_value(); }
  Error ErrorOf(const std::vector<Stat>& stats) {
    std::vector<Sent> entries;
    for (const Stat& stat : stats) entries.push_back({stat, ""});
    const auto result = Send(entries);
    return result ? Error{} : result.error();
  }

  sys::TempDir temp_;
  std::string root_;
  std::vector<std::string> asked_;
  std::string error_;
};

TEST_F(ReceiveTreeTest, MakesWhatIsSent) {
  Stat private_file = File("a/secret", 3);
  private_file.set_mode(0600);
  const auto received =
      Send({{Dir("a", 0750), ""}, {private_file, "abc"}, {Symlink("b", "../elsewhere"), ""}, {File("c", 0), ""}});
  ASSERT_TRUE(received) << received.error().ToString();
  EXPECT_EQ(received->entries, 4u);
  EXPECT_EQ(received->files, 2u);
  EXPECT_EQ(Content("a/secret"), "abc");
  EXPECT_EQ(StatOf("a").mode & 07777, 0750u);
  EXPECT_EQ(StatOf("a").mtime.nanos, kTime);
  EXPECT_EQ(StatOf("a/secret").mode & 07777, 0600u);
  EXPECT_EQ(StatOf("a/secret").mtime.nanos, kTime);
  EXPECT_EQ(sys::ReadLink(AT_FDCWD, root_ + "/b").value(), "../elsewhere");
  EXPECT_EQ(Content("c"), "");
}

TEST_F(ReceiveTreeTest, AsksOnlyForWhatChanged) {
  Mirror({{Dir("a"), ""}, {File("a/x", 3), "one"}, {File("a/y", 3), "two"}});
  EXPECT_EQ(asked_, (std::vector<std::string>{"a/x", "a/y"}));
  Mirror({{Dir("a"), ""}, {File("a/x", 3), "one"}, {File("a/y", 3), "two"}});
  EXPECT_TRUE(asked_.empty());
  Mirror({{Dir("a"), ""}, {File("a/x", 3, kTime + 1), "ONE"}, {File("a/y", 3), "two"}});
  EXPECT_EQ(asked_, (std::vector<std::string>{"a/x"}));
  EXPECT_EQ(Content("a/x"), "ONE");
  Mirror({{Dir("a"), ""}, {File("a/x", 3, kTime + 1), "ONE"}, {File("a/y", 4), "four"}});
  EXPECT_EQ(asked_, (std::vector<std::string>{"a/y"}));
}

TEST_F(ReceiveTreeTest, PermissionsAreAChange) {
  Mirror({{File("x", 3), "one"}});
  Stat executable = File("x", 3);
  executable.set_mode(0755 | kGoSetuid);
  Mirror({{executable, "one"}});
  EXPECT_EQ(StatOf("x").mode & 07777, 04755u);
}

TEST_F(ReceiveTreeTest, AsksForAllWhenTold) {
  Mirror({{File("x", 3), "one"}});
  Mirror({{File("x", 3), "two"}}, {.always_ask = true});
  EXPECT_EQ(Content("x"), "two");
}

TEST_F(ReceiveTreeTest, RemovesWhatWasNotSent) {
  Mirror({{Dir("a"), ""}, {Dir("a/b"), ""}, {File("a/b/x", 1), "x"}, {File("a/c", 1), "c"}, {File("d", 1), "d"}});
  const auto received = Send({{Dir("a"), ""}, {File("a/c", 1), "c"}});
  ASSERT_TRUE(received);
  EXPECT_FALSE(Exists("a/b"));
  EXPECT_FALSE(Exists("d"));
  EXPECT_TRUE(Exists("a/c"));
  EXPECT_EQ(received->removed, 2u);
  EXPECT_EQ(StatOf("a").mtime.nanos, kTime);  // although an entry went
  Mirror({});
  EXPECT_FALSE(Exists("a"));
}

TEST_F(ReceiveTreeTest, TypesMayChange) {
  Mirror({{Dir("a"), ""}, {File("a/x", 1), "x"}, {Symlink("b", "a"), ""}, {File("c", 1), "c"}});
  Mirror({{File("a", 1), "A"}, {Dir("b"), ""}, {File("b/y", 1), "y"}, {Symlink("c", "a"), ""}});
  EXPECT_EQ(Content("a"), "A");
  EXPECT_EQ(Content("b/y"), "y");
  EXPECT_TRUE(StatOf("c").IsSymlink());
}

TEST_F(ReceiveTreeTest, LargeFilesArriveWhole) {
  std::string large(3 << 20, 'x');
  for (size_t i = 0; i < large.size(); i += 1000) large[i] = static_cast<char>(i / 1000);
  Mirror({{File("large", large.size()), large}, {File("small", 1), "s"}});
  EXPECT_TRUE(Content("large") == large);
  EXPECT_EQ(StatOf("large").mtime.nanos, kTime);
}

TEST_F(ReceiveTreeTest, ManyFilesArriveWhole) {
  std::vector<Sent> entries;
  for (int i = 0; i < 2000; ++i) {
    const std::string content(static_cast<size_t>(i % 97) * 31, static_cast<char>('a' + i % 26));
    entries.push_back({File(fmt::format("f{:05}", i), content.size()), content});
  }
  const auto received = Send(entries);
  ASSERT_TRUE(received) << received.error().ToString();
  for (const Sent& entry : entries) ASSERT_EQ(Content(entry.stat.path()), entry.content);
}

TEST_F(ReceiveTreeTest, HardLinksShareAFile) {
  Mirror({{File("a", 3), "abc"}, {HardLink("b", "a"), ""}});
  EXPECT_EQ(StatOf("a").inode, StatOf("b").inode);
  Mirror({{File("a", 3), "abc"}, {HardLink("b", "a"), ""}});
  EXPECT_TRUE(asked_.empty());
  EXPECT_EQ(StatOf("a").inode, StatOf("b").inode);
  Mirror({{File("a", 3, kTime + 1), "ABC"}, {HardLink("b", "a"), ""}});
  EXPECT_EQ(Content("b"), "ABC");
  // No links any more, and only one of them changes.
  Mirror({{File("a", 3, kTime + 1), "ABC"}, {File("b", 3, kTime + 1), "ABC"}});
  EXPECT_NE(StatOf("a").inode, StatOf("b").inode);
}

TEST_F(ReceiveTreeTest, AHardLinkNamesAFileOfTheTransfer) {
  ASSERT_TRUE(WriteFileAtomically(temp_.path() + "/outside", "secret"));
  EXPECT_EQ(ErrorOf({HardLink("b", "../outside")}).code, Code::kInvalid);
  EXPECT_EQ(ErrorOf({HardLink("b", "/etc/passwd")}).code, Code::kInvalid);
  EXPECT_EQ(ErrorOf({HardLink("b", "absent")}).code, Code::kInvalid);
  EXPECT_EQ(ErrorOf({Symlink("a", "../outside"), HardLink("b", "a")}).code, Code::kInvalid);
  EXPECT_EQ(ErrorOf({Symlink("a", ".."), HardLink("b", "a/outside")}).code, Code::kInvalid);
  EXPECT_FALSE(Exists("b"));
}

TEST_F(ReceiveTreeTest, HostilePathsAreRefused) {
  for (const std::string path : {"..", "../x", "/x", "", ".", "a//b", "a/", "./a", "a/../../x", "a/.."}) {
    const Error error = ErrorOf({Dir("a"), File(path, 0)});
    EXPECT_EQ(error.code, Code::kInvalid) << path;
  }
  EXPECT_EQ(ErrorOf({File(std::string("x\0y", 3), 0)}).code, Code::kInvalid);
  EXPECT_EQ(ErrorOf({File(std::string(5000, 'x'), 0)}).code, Code::kInvalid);
  EXPECT_FALSE(sys::Statx(temp_.path() + "/x"));
}

TEST_F(ReceiveTreeTest, NothingIsWrittenThroughASymlink) {
  ASSERT_EQ(::mkdir((temp_.path() + "/victim").c_str(), 0755), 0);
  EXPECT_EQ(ErrorOf({Symlink("a", "../victim"), File("a/x", 0)}).code, Code::kInvalid);
  // Also when it lies there from before.
  Mirror({{Symlink("a", "../victim"), ""}});
  Mirror({{Dir("a"), ""}, {File("a/x", 1), "x"}});
  EXPECT_FALSE(sys::Statx(temp_.path() + "/victim/x"));
  EXPECT_EQ(Content("a/x"), "x");
}

TEST_F(ReceiveTreeTest, PathsComeInOrderAndBelowTheirDirectory) {
  EXPECT_EQ(ErrorOf({File("b", 0), File("a", 0)}).code, Code::kInvalid);
  EXPECT_EQ(ErrorOf({File("a", 0), File("a", 0)}).code, Code::kInvalid);
  EXPECT_EQ(ErrorOf({File("a/b", 0)}).code, Code::kInvalid);
  EXPECT_EQ(ErrorOf({Dir("a"), Dir("b"), File("a/x", 0)}).code, Code::kInvalid);
  EXPECT_EQ(ErrorOf({File("a", 0), File("a/x", 0)}).code, Code::kInvalid);
  // A directory's content comes before names that continue its own.
  EXPECT_EQ(ErrorOf({Dir("a"), File("a/x", 0), File("a.txt", 0)}).message, "");
}

TEST_F(ReceiveTreeTest, DevicesAreRefused) {
  Stat device = File("sda", 0);
  device.set_mode(0660 | kGoDevice);
  const Error error = ErrorOf({device});
  EXPECT_EQ(error.message, "\"sda\" of the client is a device or another special file");
  EXPECT_EQ(error.hint, "exclude it with a .dockerignore file");
}

TEST_F(ReceiveTreeTest, TooDeepIsRefused) {
  std::vector<Stat> stats;
  std::string path;
  for (int i = 0; i < 300; ++i) stats.push_back(Dir(path += i == 0 ? "d" : "/d"));
  EXPECT_EQ(ErrorOf(stats).code, Code::kInvalid);
}

TEST_F(ReceiveTreeTest, LimitsEndATransfer) {
  auto received = Send({{File("a", 0), ""}, {File("b", 0), ""}}, {.max_entries = 1});
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, Code::kResource);
  received = Send({{File("a", 1), std::string(100 << 10, 'x')}}, {.max_bytes = 50 << 10});
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, Code::kResource);
  EXPECT_EQ(error_, received.error().message);  // the client is told
}

TEST_F(ReceiveTreeTest, ContentThatWasNotAskedForIsRefused) {
  const auto received = Send({{Dir("a"), ""}, {File("b", 1), "b"}}, {}, [](PacketStream& stream) {
    Packet packet;
    packet.set_type(Packet::PACKET_DATA);
    packet.set_id(0);
    packet.set_data("x");
    stream.Write(packet);
  });
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().message, "the client sent content that was not asked for");
}

TEST_F(ReceiveTreeTest, AnErrorOfTheSenderIsTheError) {
  const auto received = Send({{File("b", 1), "b"}}, {}, [](PacketStream& stream) {
    Packet packet;
    packet.set_type(Packet::PACKET_ERR);
    packet.set_data("permission denied");
    stream.Write(packet);
  });
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().message, "the client cannot send its files: permission denied");
}

TEST_F(ReceiveTreeTest, ASenderThatLeavesIsAnErrorAndTheNextTransferMends) {
  auto received = Send({{File("a", 1), "a"}, {File("b", 1), "b"}}, {}, [](PacketStream& stream) { stream.Cancel(); });
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, Code::kUnavailable);
  Mirror({{File("a", 1), "a"}, {File("b", 1), "b"}});
  EXPECT_EQ(Content("a") + Content("b"), "ab");
}

TEST_F(ReceiveTreeTest, AStopEndsATransfer) {
  auto [ours, theirs] = PacketPipe::Make();
  std::stop_source stop;
  auto result = std::async([&, stream = std::move(theirs)] {
    const Fd root = sys::OpenDir(root_).value();
    return ReceiveTree(*stream, root.get(), {}, stop.get_token());
  });
  stop.request_stop();
  EXPECT_EQ(result.get().error().code, Code::kCancelled);
}

TEST_F(ReceiveTreeTest, NamesNeedNotBeUtf8) {
  Mirror({{File("\xff\xfe", 1), "x"}});
  EXPECT_EQ(Content("\xff\xfe"), "x");
}

// What SendTree sends, ReceiveTree makes: types, permissions, times, links.
TEST_F(ReceiveTreeTest, ReceivesWhatSendTreeSends) {
  const std::string source = temp_.path() + "/source";
  ASSERT_TRUE(sys::MkdirAll(source + "/dir/deep"));
  ASSERT_TRUE(WriteFileAtomically(source + "/dir/deep/file", std::string(100'000, 'x'), 0640));
  ASSERT_TRUE(WriteFileAtomically(source + "/dir.txt", "text"));
  ASSERT_TRUE(WriteFileAtomically(source + "/empty", ""));
  ASSERT_EQ(::symlink("dir/deep", (source + "/link").c_str()), 0);
  ASSERT_EQ(::link((source + "/dir.txt").c_str(), (source + "/twin").c_str()), 0);
  ASSERT_EQ(::mkfifo((source + "/fifo").c_str(), 0600), 0);
  for (int round = 0; round < 2; ++round) {
    auto [ours, theirs] = PacketPipe::Make();
    auto sent = std::async([&, stream = std::move(theirs)] {
      const Fd fd = sys::OpenDir(source).value();
      auto bytes = SendTree(*stream, fd.get(), {}, {});
      return bytes;
    });
    const Fd root = sys::OpenDir(root_).value();
    const auto received = ReceiveTree(*ours, root.get(), {}, {});
    ASSERT_TRUE(received) << received.error().ToString();
    ASSERT_TRUE(sent.get());
    EXPECT_EQ(received->entries, 8u);
    EXPECT_EQ(received->files, round == 0 ? 3u : 0u);
  }
  EXPECT_EQ(Content("dir/deep/file"), std::string(100'000, 'x'));
  EXPECT_EQ(StatOf("dir/deep/file").mode & 07777, 0640u);
  EXPECT_EQ(StatOf("dir").mtime, sys::Statx(source + "/dir")->mtime);
  EXPECT_EQ(StatOf("twin").inode, StatOf("dir.txt").inode);
  EXPECT_TRUE(S_ISFIFO(StatOf("fifo").mode));
  EXPECT_EQ(sys::ReadLink(AT_FDCWD, root_ + "/link").value(), "dir/deep");
}

TEST_F(ReceiveTreeTest, TheSenderRefusesWhatItDidNotOffer) {
  const std::string source = temp_.path() + "/source";
  ASSERT_TRUE(sys::MkdirAll(source + "/dir"));
  auto [ours, theirs] = PacketPipe::Make();
  auto sent = std::async([&, stream = std::move(theirs)] {
    const Fd fd = sys::OpenDir(source).value();
    return SendTree(*stream, fd.get(), {}, {});
  });
  Packet packet;
  packet.set_type(Packet::PACKET_REQ);
  packet.set_id(0);  // the directory
  ours->Write(packet);
  const auto result = sent.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kInvalid);
}

// Each call that writes failed in turn. What has the sender's time must have the sender's content, since the next
// transfer does not ask for it.
TEST_F(ReceiveTreeTest, ATransferThatFailsIsMendedByTheNext) {
  const std::vector<Sent> before = {
      {Dir("d"), ""}, {File("d/kept", 4), "kept"}, {File("d/old", 3, 1), "old"}, {File("gone", 4), "gone"}};
  const std::string large(600 << 10, 'x');
  const std::vector<Sent> after = {{Dir("d", 0750), ""},           {File("d/kept", 4), "kept"},
                                   {File("d/new", 3), "new"},      {File("d/old", 5), "newer"},
                                   {Symlink("l", "d/new"), ""},    {File("large", large.size()), large},
                                   {HardLink("twin", "large"), ""}};
  const std::string base = std::filesystem::canonical(temp_.path()).string();
  size_t failed = 0;
  for (int n = 1;; ++n) {
    ASSERT_LT(n, 500);
    root_ = fmt::format("{}/{}", base, n);
    ASSERT_EQ(::mkdir(root_.c_str(), 0700), 0);
    Mirror(before);
    sys::FaultyCalls faults(root_, n, n % 2 == 0 ? EIO : ENOSPC, {.removals = true});
    const auto received = Send(after);
    faults.Stop();
    SCOPED_TRACE(faults.failed());
    if (!received) {
      ++failed;
      EXPECT_NE(received.error().code, Code::kInternal) << received.error().ToString();
    }
    for (const Sent& entry : after) {
      const std::string& path = entry.stat.path();
      if (entry.content.empty() || !Exists(path) || StatOf(path).mtime.nanos != kTime) continue;
      EXPECT_TRUE(Content(path) == entry.content) << path;
    }
    Mirror(after);
    for (const Sent& entry : after) {
      if (entry.content.empty()) continue;
      EXPECT_TRUE(Content(entry.stat.path()) == entry.content) << entry.stat.path();
    }
    EXPECT_FALSE(Exists("gone"));
    EXPECT_EQ(StatOf("twin").inode, StatOf("large").inode);
    if (faults.calls() < n) {
      EXPECT_TRUE(received);
      break;
    }
  }
  EXPECT_GT(failed, 10u);
}

}  // namespace
}  // namespace varve::session
