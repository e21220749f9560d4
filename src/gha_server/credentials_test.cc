#include "gha_server/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hex.h"

namespace varve::gha_server {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;

const std::vector<Scope> kTopic = {{.ref = "refs/heads/topic", .read = true, .write = true},
                                   {.ref = "refs/heads/main", .read = true}};

TEST(Credentials, HmacIsThatOfRfc4231) {
  EXPECT_EQ(HexEncode(HmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(HexEncode(HmacSha256(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Credentials, AnIssuedTokenGrantsItsScopes) {
  FakeClock clock;
  Credentials credentials({.secret = "s"}, clock);
  auto grant = credentials.Check("Bearer " + credentials.IssueToken(kTopic, seconds(60)));
  ASSERT_TRUE(grant) << grant.error().message;
  EXPECT_EQ(grant->scopes, kTopic);
  EXPECT_THAT(grant->Readable(), ElementsAre("refs/heads/topic", "refs/heads/main"));
  EXPECT_EQ(grant->Writable()->ref, "refs/heads/topic");
}

TEST(Credentials, TheScopeThatIsWrittenIsReadFirst) {
  Grant grant{{{.ref = "refs/heads/main", .read = true}, {.ref = "refs/pull/7/merge", .read = true, .write = true}}};
  EXPECT_THAT(grant.Readable(), ElementsAre("refs/pull/7/merge", "refs/heads/main"));
}

TEST(Credentials, ExpiredForeignAndAbsentTokensAreRefused) {
  FakeClock clock;
  Credentials credentials({.secret = "s"}, clock), other({.secret = "t"}, clock);
  std::string token = credentials.IssueToken(kTopic, seconds(60));
  EXPECT_EQ(credentials.Check("").error().message, "no token: the request needs Authorization: Bearer");
  EXPECT_EQ(other.Check("Bearer " + token).error().message, "the token was not issued by this service");
  EXPECT_EQ(credentials.Check("Bearer " + token + "x").error().message, "the token was not issued by this service");
  EXPECT_EQ(credentials.Check("Bearer nonsense").error().message, "the token is not known here");
  clock.Advance(std::chrono::seconds(61));
  EXPECT_EQ(credentials.Check("Bearer " + token).error().message, "the token is expired");
}

TEST(Credentials, ForeignTokensAreBelievedWhereTheOperatorSaysSo) {
  FakeClock clock;
  Credentials issuer({.secret = "s"}, clock), trusting({.secret = "t", .trust_any_token = true}, clock);
  EXPECT_TRUE(trusting.Check("Bearer " + issuer.IssueToken(kTopic, seconds(60))));
  EXPECT_FALSE(trusting.Check("Bearer a.b.c"));
}

TEST(Credentials, AnOpaqueTokenWritesTheMainBranch) {
  FakeClock clock;
  Credentials credentials({.secret = "s", .tokens = {"hunter2"}}, clock);
  auto grant = credentials.Check("bearer hunter2");
  ASSERT_TRUE(grant);
  EXPECT_EQ(grant->Writable()->ref, "refs/heads/main");
  EXPECT_FALSE(credentials.Check("Bearer hunter"));
}

HttpRequest RequestFor(const std::string& path, std::string_view query) {
  HttpRequest request{.path = path};
  // As libmicrohttpd decodes them; the signature alone has characters that were escaped.
  for (size_t begin = 1; begin < query.size();) {
    size_t end = std::min(query.find('&', begin), query.size());
    std::string pair(query.substr(begin, end - begin)), value;
    size_t equals = pair.find('=');
    for (size_t i = equals + 1; i < pair.size(); ++i) {
      if (pair[i] == '%') {
        value += static_cast<char>(std::stoi(pair.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else {
        value += pair[i];
      }
    }
    request.query[pair.substr(0, equals)] = value;
    begin = end + 1;
  }
  return request;
}

TEST(Credentials, ASignedAddressIsGoodForItsPathItsPurposeAndItsTime) {
  FakeClock clock;
  Credentials credentials({.secret = "s"}, clock);
  std::string query = credentials.Sign("/varve/cache/7", "cw", seconds(60));
  EXPECT_TRUE(credentials.IsSigned(RequestFor("/varve/cache/7", query), "cw"));
  EXPECT_FALSE(credentials.IsSigned(RequestFor("/varve/cache/8", query), "cw"));
  EXPECT_FALSE(credentials.IsSigned(RequestFor("/varve/cache/7", query), "r"));
  HttpRequest forged = RequestFor("/varve/cache/7", query);
  forged.query["sp"] = "r";
  EXPECT_FALSE(credentials.IsSigned(forged, "r"));
  clock.Advance(seconds(60));
  EXPECT_FALSE(credentials.IsSigned(RequestFor("/varve/cache/7", query), "cw"));
}

TEST(Credentials, ScopesAreWrittenWithTheirRights) {
  auto scopes = ParseScopes("refs/heads/topic:rw,refs/heads/main:r");
  ASSERT_TRUE(scopes);
  EXPECT_EQ(*scopes, kTopic);
  EXPECT_FALSE(ParseScopes("refs/heads/main"));
  EXPECT_FALSE(ParseScopes("refs/heads/main:x"));
  EXPECT_FALSE(ParseScopes(""));
}

}  // namespace
}  // namespace varve::gha_server
