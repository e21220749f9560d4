#include "net/url.h"

#include <gtest/gtest.h>

namespace varve::net {
namespace {

std::string Resolved(const std::string& base, const std::string& location) {
  auto url = ResolveUrl(*ParseUrl(base), location);
  return url ? url->String() : url.error().message;
}

TEST(Url, PartsComeApartAndTogether) {
  Url url = *ParseUrl("HTTPS://ann:pw@Example.COM:8443/a/b?x=1&y=%20#frag");
  EXPECT_EQ(url.scheme, "https");
  EXPECT_EQ(url.user_info, "ann:pw");
  EXPECT_EQ(url.host, "example.com");
  EXPECT_EQ(url.port, 8443);
  EXPECT_EQ(url.path, "/a/b");
  EXPECT_EQ(url.query, "x=1&y=%20");
  EXPECT_EQ(url.String(), "https://ann:pw@example.com:8443/a/b?x=1&y=%20");
  EXPECT_EQ(ParseUrl("http://[::1]:5000/v2/")->Authority(), "[::1]:5000");
  EXPECT_EQ(ParseUrl("https://a:443/")->String(), "https://a/");
}

TEST(Url, RefusesWhatIsNone) {
  for (const char* bad : {"", "a", "ftp://a/", "http://", "http:///x", "http://a b/", "http://a:0/", "http://a:99999/",
                          "http://a:x/", "http://[::1/", "http://a/\r\nX: y", "file:///etc/passwd", "http://a\\b/"}) {
    EXPECT_FALSE(ParseUrl(bad)) << bad;
  }
}

TEST(Url, LocationsResolveAsInRfc3986) {
  const std::string base = "http://h:5000/v2/app/blobs/uploads/?x=1";
  EXPECT_EQ(Resolved(base, "/v2/app/blobs/uploads/1?_state=a"), "http://h:5000/v2/app/blobs/uploads/1?_state=a");
  EXPECT_EQ(Resolved(base, "https://cdn/blob"), "https://cdn/blob");
  EXPECT_EQ(Resolved(base, "//cdn/blob"), "http://cdn/blob");
  EXPECT_EQ(Resolved(base, "1"), "http://h:5000/v2/app/blobs/uploads/1");
  EXPECT_EQ(Resolved(base, "../../x"), "http://h:5000/v2/app/x");
  EXPECT_EQ(Resolved(base, "/a/../../b/./c/"), "http://h:5000/b/c/");
  EXPECT_EQ(Resolved(base, "?y=2"), "http://h:5000/v2/app/blobs/uploads/?y=2");
  EXPECT_EQ(Resolved(base, "/to?next=http://other/"), "http://h:5000/to?next=http://other/");
  EXPECT_EQ(Resolved("http://h", "x"), "http://h/x");
}

TEST(Url, AnOriginIsSchemeHostAndPort) {
  auto same = [](const char* a, const char* b) { return SameOrigin(*ParseUrl(a), *ParseUrl(b)); };
  EXPECT_TRUE(same("https://a/x", "https://A:443/y"));
  EXPECT_FALSE(same("https://a/", "http://a/"));
  EXPECT_FALSE(same("http://a:1/", "http://a:2/"));
  EXPECT_FALSE(same("http://a/", "http://b.a/"));
}

TEST(Url, LoopbackIsAnAddressNotAPrefix) {
  EXPECT_TRUE(IsLoopback("localhost"));
  EXPECT_TRUE(IsLoopback("127.8.0.1"));
  EXPECT_TRUE(IsLoopback("::1"));
  EXPECT_FALSE(IsLoopback("127.0.0.1.example.com"));
  EXPECT_FALSE(IsLoopback("127.0.0.example"));
  EXPECT_FALSE(IsLoopback("10.0.0.1"));
}

TEST(Redact, LeavesNoSecret) {
  EXPECT_EQ(Redact("https://ann:pw@h/a?X-Amz-Signature=abc"), "https://***@h/a?***");
  EXPECT_EQ(Redact("https://h/a@b"), "https://h/a@b");
  EXPECT_EQ(Redact("https://token@h"), "https://***@h");
  EXPECT_EQ(Redact("no url"), "no url");
}

TEST(Url, QueriesAreEscaped) {
  Url url = *ParseUrl("http://h/u?a=1");
  url.AddQuery("digest", "sha256:ab").AddQuery("s", "a b&c");
  EXPECT_EQ(url.query, "a=1&digest=sha256%3Aab&s=a%20b%26c");
}

}  // namespace
}  // namespace varve::net
