#include "sys/socket_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/open.h"
#include "sys/tempdir.h"

namespace varve::sys {
namespace {

class SocketServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto temp = TempDir::Create(testing::TempDir(), "varve-socket-");
    ASSERT_TRUE(temp);
    temp_ = std::move(*temp);
  }

  std::unique_ptr<SocketServer> Listen(const std::string& name, const SocketServer::Access& access,
                                       SocketServer::Handler handler) {
    auto server = SocketServer::Listen(temp_.path() + "/" + name, access, std::move(handler));
    EXPECT_TRUE(server) << server.error().ToString();
    return server ? std::move(*server) : nullptr;
  }

  // Says what it was told, twice, once it was told all.
  std::unique_ptr<SocketServer> Echo(const std::string& name) {
    return Listen(name, Ours(), [](int connection, std::stop_token) {
      FdReader in(connection);
      auto text = ReadAll(in, 1 << 20);
      FdWriter out(connection);
      if (text) (void)out.Write(*text + *text);
    });
  }

  static std::string Ask(const std::string& path, std::string_view text) {
    auto socket = ConnectTo(path);
    EXPECT_TRUE(socket) << socket.error().ToString();
    if (!socket) return "";
    FdWriter out(socket->get());
    EXPECT_TRUE(out.Write(text));
    ::shutdown(socket->get(), SHUT_WR);
    FdReader in(socket->get());
    return ReadAll(in, 1 << 20).value_or("unreadable");
  }

  static SocketServer::Handler RelayFor(const std::string& to) {
    return [to](int connection, std::stop_token stop) { RelayTo(to, connection, std::move(stop)); };
  }

  static SocketServer::Access Ours(mode_t mode = 0600) { return {::geteuid(), ::getegid(), mode}; }

  TempDir temp_;
};

TEST_F(SocketServerTest, TheSocketHasTheOwnerAndTheModeThatWereAskedFor) {
  const mode_t before = umask(0);
  SocketServer::Access access = Ours(0741);
  if (::geteuid() == 0) access.uid = 100, access.gid = 102;
  auto server = Listen("s", access, [](int, std::stop_token) {});
  umask(before);
  ASSERT_TRUE(server);
  struct stat st;
  ASSERT_EQ(lstat(server->path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFSOCK | 0741));
  EXPECT_EQ(st.st_uid, access.uid);
  EXPECT_EQ(st.st_gid, access.gid);
  const std::string path = server->path();
  server.reset();
  EXPECT_NE(lstat(path.c_str(), &st), 0);
}

TEST_F(SocketServerTest, ARelayPassesOnWhatEachSideSaysUpToItsEnd) {
  auto echo = Echo("agent");
  ASSERT_TRUE(echo);
  auto relay = Listen("relay", Ours(), RelayFor(echo->path()));
  ASSERT_TRUE(relay);
  const std::string much(200'000, 'x');  // more than a socket holds
  EXPECT_EQ(Ask(relay->path(), "hello"), "hellohello");
  EXPECT_EQ(Ask(relay->path(), much), much + much);
}

TEST_F(SocketServerTest, APathMayBeLongerThanAnAddress) {
  const std::string deep = std::string(60, 'd') + "/" + std::string(60, 'e');
  ASSERT_TRUE(MkdirAll(temp_.path() + "/" + deep));
  auto echo = Echo(deep + "/agent");
  ASSERT_TRUE(echo);
  EXPECT_EQ(Ask(echo->path(), "a"), "aa");
}

TEST_F(SocketServerTest, AnAgentThatIsGoneEndsTheConnection) {
  auto relay = Listen("relay", Ours(), RelayFor(temp_.path() + "/nobody"));
  ASSERT_TRUE(relay);
  auto socket = ConnectTo(relay->path());
  ASSERT_TRUE(socket);
  char byte;
  EXPECT_EQ(::read(socket->get(), &byte, 1), 0);
}

TEST_F(SocketServerTest, OpenConnectionsEndWithTheServer) {
  auto waiting = Listen("s", Ours(), [](int connection, std::stop_token) {
    char byte;
    (void)!::read(connection, &byte, 1);
  });
  auto relay = Listen("relay", Ours(), RelayFor(waiting->path()));
  auto socket = ConnectTo(relay->path());
  ASSERT_TRUE(socket);
  relay.reset();
  char byte;
  EXPECT_LE(::read(socket->get(), &byte, 1), 0);  // an error if it was never accepted
}

}  // namespace
}  // namespace varve::sys
