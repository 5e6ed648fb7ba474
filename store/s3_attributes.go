package store

import (
	"context"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func headAttributes(out *s3.HeadObjectOutput) Attributes {
	return Attributes{
		ContentType: aws.ToString(out.ContentType), ContentEncoding: contentEncoding(out.ContentEncoding),
		ContentDisposition: aws.ToString(out.ContentDisposition), ContentLanguage: aws.ToString(out.ContentLanguage),
		CacheControl: aws.ToString(out.CacheControl), Metadata: out.Metadata, StorageClass: storageClass(out.StorageClass),
		SSE: string(out.ServerSideEncryption), SSEKMSKeyID: aws.ToString(out.SSEKMSKeyId),
	}
}

func getAttributes(out *s3.GetObjectOutput) Attributes {
	return Attributes{
		ContentType: aws.ToString(out.ContentType), ContentEncoding: contentEncoding(out.ContentEncoding),
		ContentDisposition: aws.ToString(out.ContentDisposition), ContentLanguage: aws.ToString(out.ContentLanguage),
		CacheControl: aws.ToString(out.CacheControl), Metadata: out.Metadata, StorageClass: storageClass(out.StorageClass),
		SSE: string(out.ServerSideEncryption), SSEKMSKeyID: aws.ToString(out.SSEKMSKeyId),
	}
}

// contentEncoding leaves out aws-chunked, which is how an upload was sent and
// not how the object is; some servers keep it.
func contentEncoding(v *string) string {
	var kept []string
	for e := range strings.SplitSeq(aws.ToString(v), ",") {
		if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, ", ")
}

// storageClass is empty for STANDARD, as in S3's own header.
func storageClass(c types.StorageClass) string {
	if c == types.StorageClassStandard {
		return ""
	}
	return string(c)
}

// tags reads the tags of the version that was seen.
func (s *S3) tags(ctx context.Context, full string, version *string, count *int32) (map[string]string, error) {
	if aws.ToInt32(count) == 0 {
		return nil, nil
	}
	out, err := s.client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &s.bucket, Key: &full, VersionId: version})
	if err != nil {
		return nil, s3Error(ctx, err)
	}
	tags := make(map[string]string, len(out.TagSet))
	for _, t := range out.TagSet {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags, nil
}

// tagging is the x-amz-tagging header: a URL query.
func tagging(tags map[string]string) *string {
	v := url.Values{}
	for name, value := range tags {
		v.Set(name, value)
	}
	return text(v.Encode())
}
