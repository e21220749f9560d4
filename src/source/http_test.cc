#include "source/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "archive/codec.h"
#include "net/testing/http_server.h"
#include "source/build_answers.h"
#include "sys/tempdir.h"

namespace varve::source {
namespace {

// A server with one file, and a build that downloads it.
class HttpTest : public testing::Test {
 protected:
  struct File {
    std::string body = "one\n";
    std::string etag = "\"1\"";
    std::vector<std::pair<std::string, std::string>> headers = {};
    bool honours_etags = true;
    bool has_head = true;
  };

  net::testing::ServerReply Serve(const net::testing::ServerRequest& request) {
    std::lock_guard lock(mutex_);
    requests_.push_back(request.method);
    encodings_.push_back(request.Header("accept-encoding"));
    agents_.push_back(request.Header("user-agent"));
    if (request.method == "HEAD" && !file_.has_head) return {.status = 405};
    net::testing::ServerReply reply{.headers = file_.headers};
    if (!file_.etag.empty()) reply.headers.emplace_back("ETag", file_.etag);
    if (file_.honours_etags && !file_.etag.empty() && request.Header("if-none-match") == file_.etag) {
      reply.status = 304;
      return reply;
    }
    if (request.method != "HEAD") reply.body = file_.body;
    return reply;
  }
  // What came, and of what name.
  HttpFile Fetch(BuildAnswers* answers = nullptr) {
    auto file = FetchHttp({.url = server_.Url("/dir/a.txt")}, "", Place(answers), {});
    EXPECT_TRUE(file) << file.error().message;
    return file ? *file : HttpFile();
  }
  std::string Content(const HttpFile& file) {
    auto reader = blobs_->OpenVerified(file.digest);
    return reader ? *ReadAll(**reader, 1 << 20) : reader.error().message;
  }
  HttpPlace Place(BuildAnswers* answers) { return {http_, *blobs_, *local_.store, SystemClock(), answers}; }
  std::vector<std::string> TakeRequests() {
    std::lock_guard lock(mutex_);
    return std::exchange(requests_, {});
  }

  sys::TempDir root_ = std::move(*sys::TempDir::Create(testing::TempDir(), "http-"));
  cache::OpenedStore local_ = std::move(*cache::OpenLocalStore(root_.path(), SystemClock()));
  std::unique_ptr<cas::BlobStore> blobs_ = cas::MakeMemoryStore();
  net::HttpClient http_;
  std::mutex mutex_;
  File file_;
  std::vector<std::string> requests_, encodings_, agents_;
  net::testing::HttpServer server_{[this](const auto& request) { return Serve(request); }};
};

using Requests = std::vector<std::string>;

TEST_F(HttpTest, AnUnchangedFileIsNotSentAgain) {
  EXPECT_EQ(Content(Fetch()), "one\n");
  EXPECT_EQ(Content(Fetch()), "one\n");
  EXPECT_EQ(TakeRequests(), (Requests{"GET", "HEAD"}));
}

TEST_F(HttpTest, AServerThatIgnoresValidatorsIsBelievedByItsEtag) {
  file_.honours_etags = false;
  file_.etag = "W/\"1\"";
  Fetch();
  file_.etag = "\"1\"";
  Fetch();
  EXPECT_EQ(TakeRequests(), (Requests{"GET", "HEAD"}));
}

TEST_F(HttpTest, AChangedFileIsSent) {
  Fetch();
  file_.body = "two\n";
  file_.etag = "\"2\"";
  EXPECT_EQ(Content(Fetch()), "two\n");
  EXPECT_EQ(TakeRequests(), (Requests{"GET", "HEAD", "GET"}));
}

TEST_F(HttpTest, AServerWithoutHeadIsAskedForTheFile) {
  Fetch();
  file_.has_head = false;
  EXPECT_EQ(Content(Fetch()), "one\n");
  EXPECT_EQ(TakeRequests(), (Requests{"GET", "HEAD", "GET"}));
}

TEST_F(HttpTest, ServersAreToldWhoAsks) {
  Fetch();
  ASSERT_TRUE(FetchHttp({.url = server_.Url("/dir/a.txt"), .user_agent = "mine/1"}, "", Place(nullptr), {}));
  EXPECT_THAT(agents_, testing::ElementsAre(testing::MatchesRegex("varve/[0-9.]+ buildkit/v[0-9.]+"), "mine/1"));
}

TEST_F(HttpTest, OneBuildGetsOneAnswer) {
  BuildAnswers build;
  EXPECT_EQ(Content(Fetch(&build)), "one\n");
  file_.body = "two\n";
  file_.etag = "\"2\"";
  EXPECT_EQ(Content(Fetch(&build)), "one\n");
  EXPECT_EQ(TakeRequests(), Requests{"GET"});
  BuildAnswers next;
  EXPECT_EQ(Content(Fetch(&next)), "two\n");
}

TEST_F(HttpTest, APackedBodyIsKeptUnpacked) {
  StringWriter out;
  auto compressor = archive::MakeCompressor(out, archive::Compression::kGzip);
  ASSERT_TRUE(compressor);
  ASSERT_TRUE((*compressor)->Write("one\n"));
  ASSERT_TRUE((*compressor)->Finish());
  file_.body = out.text;
  file_.headers = {{"Content-Encoding", "gzip"}};
  const HttpFile file = Fetch();
  EXPECT_EQ(Content(file), "one\n");
  EXPECT_EQ(file.size, 4u);
  EXPECT_EQ(encodings_, Requests{"gzip"});
}

TEST_F(HttpTest, AnArchiveThatAServerCallsEncodedIsTheArchive) {
  file_.body = "\x1f\x8b is how it begins";
  file_.headers = {{"Content-Encoding", "x-gzip"}};
  EXPECT_EQ(Content(Fetch()), file_.body);
}

TEST_F(HttpTest, TheServersTimeIsTheFilesInEachForm) {
  file_.headers = {{"Last-Modified", "Sunday, 06-Nov-94 08:49:37 GMT"}};
  EXPECT_EQ(Fetch().modified->seconds(), 784'111'777);
}

TEST_F(HttpTest, TheServerMayNameTheFile) {
  EXPECT_EQ(Fetch().name, "a.txt");
  file_ = {.etag = "\"2\"", .headers = {{"Content-Disposition", "attachment; filename=\"my img.jpg\""}}};
  EXPECT_EQ(Fetch().name, "my img.jpg");
  EXPECT_EQ(Fetch().name, "my img.jpg");  // when nothing is sent, too
  auto named = FetchHttp({.url = server_.Url("/dir/a.txt"), .filename = "mine"}, "", Place(nullptr), {});
  EXPECT_EQ(named->name, "mine");
}

TEST(NameInDisposition, IsTheLastPartOfWhatTheHeaderSays) {
  EXPECT_EQ(NameInDisposition("attachment"), "");
  EXPECT_EQ(NameInDisposition("attachment; filename=a.txt"), "a.txt");
  EXPECT_EQ(NameInDisposition("attachment; size=3; FileName = \"a;\\\"b\\\".txt\" "), "a;\"b\".txt");
  EXPECT_EQ(NameInDisposition("attachment; filename=x; filename*=UTF-8'en'na%C3%AFve.txt"), "na\xC3\xAFve.txt");
  EXPECT_EQ(NameInDisposition("attachment; filename=\"../../etc/passwd\""), "passwd");
  for (const char* header : {"attachment; filename=\"..\"", "attachment; filename=\"a/\"",
                             "attachment; filename=\"a\nb\"", "; filename", "attachment; filename=\"", ""}) {
    EXPECT_EQ(NameInDisposition(header), "") << header;
  }
}

}  // namespace
}  // namespace varve::source
