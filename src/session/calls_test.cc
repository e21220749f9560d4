// The calls to a client that are not about its context: outputs, secrets, uploads, ssh agents.
#include <dirent.h>
#include <fcntl.h>
#include <grpcpp/impl/codegen/method_handler.h>
#include <grpcpp/impl/codegen/rpc_service_method.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <future>

#include "api/filesync.grpc.pb.h"
#include "api/secrets.grpc.pb.h"
#include "api/sshforward.grpc.pb.h"
#include "api/upload.grpc.pb.h"
#include "session/file_send.h"
#include "session/receive_tree.h"
#include "session/secrets.h"
#include "session/ssh_forward.h"
#include "session/testing/fake_client.h"
#include "session/testing/fake_daemon.h"
#include "session/upload.h"
#include "sys/open.h"
#include "sys/tempdir.h"

namespace varve::session {
namespace {

using testing::FakeClient;
using testing::FakeDaemon;

using SendBytes = grpc::ServerReaderWriter<moby::filesync::v1::BytesMessage, moby::filesync::v1::BytesMessage>;

std::map<std::string, std::string> MetadataOf(const grpc::ServerContext& context) {
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : context.client_metadata()) {
    out[std::string(key.data(), key.size())] = std::string(value.data(), value.size());
  }
  return out;
}

// A client that takes archives.
class ArchiveTaker final : public moby::filesync::v1::FileSend::Service {
 public:
  grpc::Status DiffCopy(grpc::ServerContext* context, SendBytes* stream) override {
    metadata = MetadataOf(*context);
    if (!refusal.ok()) return refusal;
    moby::filesync::v1::BytesMessage message;
    while (stream->Read(&message)) bytes += message.data();
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
    complete = true;
    return grpc::Status::OK;
  }
  grpc::Status refusal;
  std::atomic<bool> complete = false;
  std::string bytes;
  std::map<std::string, std::string> metadata;
};

// A client that takes directories: the same method with packets.
class DirectoryTaker final : public grpc::Service {
 public:
  using Packet = fsutil::types::Packet;
  using Stream = grpc::ServerReaderWriter<Packet, Packet>;

  explicit DirectoryTaker(std::string directory) : directory_(std::move(directory)) {
    AddMethod(new grpc::internal::RpcServiceMethod(
        "/moby.filesync.v1.FileSend/DiffCopy", grpc::internal::RpcMethod::BIDI_STREAMING,
        new grpc::internal::BidiStreamingHandler<DirectoryTaker, Packet, Packet>(
            [](DirectoryTaker* self, grpc::ServerContext* context, Stream* stream) {
              return self->Take(*context, *stream);
            },
            this)));
  }
  std::map<std::string, std::string> metadata;

 private:
  class Packets final : public PacketStream {
   public:
    Packets(grpc::ServerContext& context, Stream& stream) : context_(context), stream_(stream) {}
    bool Read(Packet& packet) override { return stream_.Read(&packet); }
    bool Write(const Packet& packet) override { return stream_.Write(packet); }
    void Cancel() override { context_.TryCancel(); }

   private:
    grpc::ServerContext& context_;
    Stream& stream_;
  };

  grpc::Status Take(grpc::ServerContext& context, Stream& stream) {
    metadata = MetadataOf(context);
    const auto root = sys::OpenDir(directory_);
    if (!root) return {grpc::StatusCode::UNKNOWN, root.error().message};
    Packets packets(context, stream);
    const auto received = ReceiveTree(packets, root->get(), {}, {});
    return received ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNKNOWN, received.error().message);
  }

  const std::string directory_;
};

// A client and the daemon's side of it. The client goes first, and with it the calls of services that were made before.
struct Connection {
  std::shared_ptr<Session> session;
  std::unique_ptr<FakeClient> client;

  Session& operator*() const { return *session; }
  operator const std::shared_ptr<Session>&() const { return session; }
};

class CallsTest : public ::testing::Test {
 protected:
  CallsTest() { temp_ = sys::TempDir::Create(sys::TemporaryRoot(), "calls-").value(); }

  Connection Open(std::vector<grpc::Service*> services, std::vector<std::string> methods) {
    auto client = std::make_unique<FakeClient>(
        daemon_.Connect(),
        testing::FakeClientOptions{.id = "one", .services = std::move(services), .methods = std::move(methods)});
    return {daemon_.sessions().Find("one", {}).value(), std::move(client)};
  }

  sys::TempDir temp_;
  FakeDaemon daemon_;
};

constexpr char kSend[] = "/moby.filesync.v1.FileSend/DiffCopy";

TEST_F(CallsTest, AnArchiveArrivesWithItsMetadata) {
  ArchiveTaker taker;
  const auto session = Open({&taker}, {kSend});
  const std::string archive(5 << 20, 'x');
  const Status sent = SendArchive(*session, 3, {{"containerimage.digest", "sha256:1"}},
                                  [&](Writer& out) { return out.Write(archive); }, {});
  ASSERT_TRUE(sent) << sent.error().ToString();
  EXPECT_TRUE(taker.complete);
  EXPECT_TRUE(taker.bytes == archive);
  EXPECT_EQ(taker.metadata["buildkit-attachable-exporter-id"], "3");
  EXPECT_EQ(taker.metadata["exporter-md-containerimage.digest"], "sha256:1");
}

TEST_F(CallsTest, ARefusedArchiveIsAnErrorInTheClientsWords) {
  ArchiveTaker taker;
  taker.refusal = {grpc::StatusCode::FAILED_PRECONDITION, "no place for it"};
  const auto session = Open({&taker}, {kSend});
  const Status sent = SendArchive(*session, 0, {},
                                  [&](Writer& out) -> Status {
                                    for (int i = 0; i < 100; ++i) TRY(out.Write(std::string(1 << 20, 'x')));
                                    return Ok();
                                  },
                                  {});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().message, "sending the output to the client: no place for it");
}

TEST_F(CallsTest, AnArchiveThatTheClientHasIsFine) {
  ArchiveTaker taker;
  taker.refusal = {grpc::StatusCode::ALREADY_EXISTS, "target already exists"};
  const auto session = Open({&taker}, {kSend});
  EXPECT_TRUE(SendArchive(*session, 0, {}, [](Writer& out) { return out.Write("image"); }, {}));
}

TEST_F(CallsTest, AnArchiveThatFailsHalfWayIsNotTakenForComplete) {
  ArchiveTaker taker;
  auto session = Open({&taker}, {kSend});
  const Status sent = SendArchive(*session, 0, {},
                                  [&](Writer& out) -> Status {
                                    TRY(out.Write("half"));
                                    return Corrupt("the layer is damaged");
                                  },
                                  {});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().message, "the layer is damaged");
  session.client.reset();  // its call has ended
  EXPECT_FALSE(taker.complete);
}

TEST_F(CallsTest, ADirectoryArrives) {
  ASSERT_TRUE(sys::MkdirAll(temp_.path() + "/from/bin"));
  ASSERT_TRUE(sys::MkdirAll(temp_.path() + "/to"));
  ASSERT_TRUE(WriteFileAtomically(temp_.path() + "/from/bin/tool", std::string(100'000, 't'), 0755));
  DirectoryTaker taker(temp_.path() + "/to");
  const auto session = Open({&taker}, {kSend});
  const auto sent = SendDirectory(*session, 1, temp_.path() + "/from", {}, {});
  ASSERT_TRUE(sent) << sent.error().ToString();
  EXPECT_EQ(*sent, 100'000u);
  EXPECT_EQ(ReadFile(temp_.path() + "/to/bin/tool").value(), std::string(100'000, 't'));
  EXPECT_EQ(taker.metadata["buildkit-attachable-exporter-id"], "1");
  EXPECT_EQ(taker.metadata["buildkit-exporter-multi-platform"], "1");
}

TEST_F(CallsTest, ADirectoryThatTheClientCannotWriteIsAnErrorInItsWords) {
  ASSERT_TRUE(sys::MkdirAll(temp_.path() + "/from"));
  ASSERT_TRUE(WriteFileAtomically(temp_.path() + "/from/x", "x"));
  DirectoryTaker taker(temp_.path() + "/absent");
  const auto session = Open({&taker}, {kSend});
  const auto sent = SendDirectory(*session, 0, temp_.path() + "/from", {}, {});
  ASSERT_FALSE(sent);
  EXPECT_TRUE(sent.error().message.starts_with("sending the output to the client: ")) << sent.error().message;
}

class SecretHolder final : public moby::buildkit::secrets::v1::Secrets::Service {
  grpc::Status GetSecret(grpc::ServerContext*, const moby::buildkit::secrets::v1::GetSecretRequest* request,
                         moby::buildkit::secrets::v1::GetSecretResponse* response) override {
    if (request->id() == "large") {
      response->set_data(std::string(600 << 10, 'x'));
      return grpc::Status::OK;
    }
    if (request->id() != "token") return {grpc::StatusCode::NOT_FOUND, "no such secret"};
    response->set_data(std::string("a\0b", 3));
    return grpc::Status::OK;
  }
};

TEST_F(CallsTest, SecretsAreBytesOrAbsent) {
  SecretHolder holder;
  const auto session = Open({&holder}, {"/moby.buildkit.secrets.v1.Secrets/GetSecret"});
  EXPECT_EQ(GetSecret(*session, "token", {}).value(), std::string("a\0b", 3));
  EXPECT_EQ(GetSecret(*session, "other", {}).value(), std::nullopt);
  EXPECT_EQ(GetSecret(*session, "large", {}).error().code, Code::kInvalid);
}

TEST_F(CallsTest, AClientWithoutSecretsHasNone) {
  const auto session = Open({}, {});
  EXPECT_EQ(GetSecret(*session, "token", {}).value(), std::nullopt);
}

class Uploader final : public moby::upload::v1::Upload::Service {
 public:
  grpc::Status Pull(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<moby::upload::v1::BytesMessage, moby::upload::v1::BytesMessage>* stream) override {
    metadata = MetadataOf(*context);
    moby::upload::v1::BytesMessage message;
    for (int i = 0; i < 10; ++i) {
      message.set_data(std::string(1000, static_cast<char>('0' + i)));
      stream->Write(message);
    }
    return grpc::Status::OK;
  }
  std::map<std::string, std::string> metadata;
};

TEST_F(CallsTest, AnUploadIsReadToItsEnd) {
  Uploader uploader;
  const auto session = Open({&uploader}, {"/moby.upload.v1.Upload/Pull"});
  StringWriter out;
  ASSERT_TRUE(PullUpload(*session, "http://buildkit-session/abc", out, {}));
  EXPECT_EQ(out.text.size(), 10'000u);
  EXPECT_EQ(uploader.metadata["urlpath"], "/abc");
  EXPECT_EQ(uploader.metadata["urlhost"], "buildkit-session");
}

// An agent that answers every message with itself, twice.
class EchoAgent final : public moby::sshforward::v1::SSH::Service {
 public:
  grpc::Status CheckAgent(grpc::ServerContext*, const moby::sshforward::v1::CheckAgentRequest* request,
                          moby::sshforward::v1::CheckAgentResponse*) override {
    if (request->id() == "default") return grpc::Status::OK;
    return {grpc::StatusCode::UNKNOWN, "unset ssh forward key " + request->id()};
  }
  grpc::Status ForwardAgent(grpc::ServerContext* context,
                            grpc::ServerReaderWriter<moby::sshforward::v1::BytesMessage,
                                                     moby::sshforward::v1::BytesMessage>* stream) override {
    if (MetadataOf(*context)["buildkit.ssh.id"] != "default") return grpc::Status::CANCELLED;
    moby::sshforward::v1::BytesMessage message;
    while (stream->Read(&message)) {
      message.set_data(message.data() + message.data());
      stream->Write(message);
    }
    return grpc::Status::OK;
  }
};

Fd ConnectTo(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

const std::vector<std::string> kSshMethods = {"/moby.sshforward.v1.SSH/CheckAgent",
                                              "/moby.sshforward.v1.SSH/ForwardAgent"};

TEST_F(CallsTest, AnAgentAnswersThroughASocket) {
  EchoAgent agent;
  const auto session = Open({&agent}, kSshMethods);
  auto forwarded = ForwardedAgent::Start(session, "", temp_.path(), {});
  ASSERT_TRUE(forwarded) << forwarded.error().ToString();
  struct stat info {};
  ASSERT_EQ(::stat((*forwarded)->socket().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  for (int i = 0; i < 3; ++i) {
    const Fd fd = ConnectTo((*forwarded)->socket());
    FdWriter writer(fd.get());
    ASSERT_TRUE(writer.Write("hello"));
    // What is on its way when one side ends arrives nevertheless.
    ::shutdown(fd.get(), SHUT_WR);
    FdReader reader(fd.get());
    EXPECT_EQ(ReadAll(reader, 100).value(), "hellohello");
  }
  const std::string path = (*forwarded)->socket();
  const Fd open = ConnectTo(path);
  forwarded->reset();  // with a connection that is still open
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST_F(CallsTest, AnAgentThatTheClientDoesNotOfferIsAnError) {
  EchoAgent agent;
  const auto session = Open({&agent}, kSshMethods);
  const auto forwarded = ForwardedAgent::Start(session, "deploy", temp_.path(), {});
  ASSERT_FALSE(forwarded);
  EXPECT_EQ(forwarded.error().message, "ssh agent \"deploy\" of the client: unset ssh forward key deploy");
}

TEST_F(CallsTest, AClientWithoutAgentsIsToldWhatToPass) {
  const auto session = Open({}, {});
  const auto forwarded = ForwardedAgent::Start(session, "", temp_.path(), {});
  ASSERT_FALSE(forwarded);
  EXPECT_EQ(forwarded.error().hint, "pass --ssh default");
}

TEST_F(CallsTest, ConnectionsToAnAgentBreakWithTheSession) {
  EchoAgent agent;
  const auto session = Open({&agent}, kSshMethods);
  auto forwarded = ForwardedAgent::Start(session, "", temp_.path(), {});
  ASSERT_TRUE(forwarded);
  const Fd fd = ConnectTo((*forwarded)->socket());
  FdWriter writer(fd.get());
  ASSERT_TRUE(writer.Write("x"));
  char buffer[2];
  FdReader reader(fd.get());
  ASSERT_TRUE(ReadExactly(reader, buffer));
  session.client->Kill();
  const auto rest = reader.Read(buffer);
  EXPECT_TRUE(!rest || *rest == 0);
}

}  // namespace
}  // namespace varve::session
