// Outputs that the client names when there is a result.
#include "api/exporter.grpc.pb.h"
#include "daemon/server_fixture.h"

namespace varve::daemon {
namespace {

namespace exporters = moby::exporter::v1;

// A client that looks into the result before it says what it wants, and is told of what came of it.
class Names final : public exporters::Exporter::Service {
 public:
  explicit Names(std::string* socket) : socket_(*socket) {}

  grpc::Status FindExporters(grpc::ServerContext*, const exporters::FindExportersRequest* request,
                             exporters::FindExportersResponse* response) override {
    auto channel = grpc::CreateChannel("unix://" + socket_, grpc::InsecureChannelCredentials());
    gateway::ReadDirRequest list;
    list.set_ref(request->refs_size() == 1 ? request->refs(0) : "");
    list.set_dir_path("/");
    gateway::ReadDirResponse listed;
    const grpc::Status looked = FakeFrontEnd(channel, ref).Call(&FakeFrontEnd::Stub::ReadDir, list, listed);
    if (!looked.ok()) return looked;
    for (const auto& entry : listed.entries()) seen.push_back(entry.path());
    auto* wanted = response->add_exporters();
    wanted->set_type(type);
    return grpc::Status::OK;
  }
  grpc::Status FinalizeExport(grpc::ServerContext*, const exporters::FinalizeExportRequest* request,
                              exporters::FinalizeExportResponse*) override {
    answer.insert(request->exporter_response().begin(), request->exporter_response().end());
    return told;
  }

  std::string ref, type = "oci";
  grpc::Status told;
  std::vector<std::string> seen;
  std::map<std::string, std::string> answer;

 private:
  const std::string& socket_;
};

struct ClientsOutputsTest : ServerTest {
  Names names{&socket};
  Answer SolveWithNames(bool serve) {
    Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
    Write("a.txt", "text");
    const std::string id = "s" + std::to_string(builds);  // one that ends may still be known for a moment
    session::testing::FakeClientOptions options{
        .id = id,
        .services = {&files, &takes},
        .methods = {"/moby.filesync.v1.FileSync/DiffCopy", "/moby.filesync.v1.FileSend/DiffCopy"}};
    if (serve) options.services.push_back(&names);
    session::testing::FakeClient client(channel, std::move(options));
    auto request = Request(id);
    request.set_enable_session_exporter(true);
    request.add_exporters()->set_type("tar");
    names.ref = request.ref();
    return Solve(request);
  }
};

TEST_F(ClientsOutputsTest, AreWrittenBesideThoseOfTheRequest) {
  Answer answer = SolveWithNames(true);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(names.seen, (std::vector<std::string>{"b"}));
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]), (std::vector<std::string>{"b"}));
  auto oci = NamesIn((*takes.taken.Lock())["1"]);
  EXPECT_NE(std::ranges::find(oci, "oci-layout"), oci.end());
  EXPECT_TRUE(names.answer.contains("containerimage.descriptor"));
}

TEST_F(ClientsOutputsTest, AClientThatServesNoSuchCallHasNone) {
  Answer answer = SolveWithNames(false);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(takes.taken.Lock()->size(), 1u);
}

TEST_F(ClientsOutputsTest, OfAnUnknownTypeAreAnError) {
  names.type = "floppy";
  EXPECT_NE(SolveWithNames(true).status.error_message().find("exporter \"floppy\" could not be found"),
            std::string::npos);
}

TEST_F(ClientsOutputsTest, AnErrorOfTheClientAtTheEndIsTheBuilds) {
  names.told = {grpc::StatusCode::UNKNOWN, "the disk is full"};
  EXPECT_NE(SolveWithNames(true).status.error_message().find("the disk is full"), std::string::npos);
  names.told = {grpc::StatusCode::UNAVAILABLE, "gone"};
  EXPECT_TRUE(SolveWithNames(true).status.ok());
}

}  // namespace
}  // namespace varve::daemon
