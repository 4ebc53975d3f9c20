package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/couchbase/gocb/v2"
)

// buckets makes, changes, flushes and drops a bucket.
func buckets(cluster *gocb.Cluster, a arguments) (err error) {
	manager := cluster.Buckets()
	wanted := gocb.BucketSettings{
		Name: fmt.Sprintf("example-go-%d", time.Now().UnixNano()), RAMQuotaMB: 100, BucketType: gocb.CouchbaseBucketType,
		EvictionPolicy: gocb.EvictionPolicyTypeValueOnly, MaxExpiry: time.Hour, CompressionMode: gocb.CompressionModePassive,
		MinimumDurabilityLevel: gocb.DurabilityLevelNone, ReplicaIndexDisabled: true,
	}
	if a.ephemeral {
		wanted.BucketType, wanted.EvictionPolicy = gocb.EphemeralBucketType, gocb.EvictionPolicyTypeNoEviction
	}
	if err := manager.CreateBucket(gocb.CreateBucketSettings{BucketSettings: wanted}, nil); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	dropped := false
	defer func() {
		if !dropped {
			err = errors.Join(err, manager.DropBucket(wanted.Name, nil))
		}
	}()
	again := manager.CreateBucket(gocb.CreateBucketSettings{BucketSettings: wanted}, nil)
	bad := manager.CreateBucket(gocb.CreateBucketSettings{BucketSettings: gocb.BucketSettings{
		Name: "a name with blanks", RAMQuotaMB: 100, BucketType: wanted.BucketType, EvictionPolicy: wanted.EvictionPolicy,
	}}, nil)
	if bad == nil {
		return errors.New("a bucket with blanks in its name was made")
	}
	if err := first(want(gocb.ErrBucketExists, again), settingsAre(manager, wanted)); err != nil {
		return err
	}
	bucket := cluster.Bucket(wanted.Name)
	if err := bucket.WaitUntilReady(20*time.Second, nil); err != nil {
		return fmt.Errorf("the new bucket: %w", err)
	}
	docs := bucket.DefaultCollection()
	if _, err := docs.Upsert("a", object{}, nil); err != nil {
		return err
	}
	if err := want(gocb.ErrBucketNotFlushable, manager.FlushBucket(wanted.Name, nil)); err != nil {
		return err
	}
	wanted.RAMQuotaMB, wanted.FlushEnabled, wanted.MaxExpiry = 128, true, 2*time.Hour
	if err := manager.UpdateBucket(wanted, nil); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if err := settingsAre(manager, wanted); err != nil {
		return err
	}
	if err := manager.FlushBucket(wanted.Name, nil); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	_, flushed := docs.Get("a", nil)
	if err := manager.DropBucket(wanted.Name, nil); err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	dropped = true
	_, gone := manager.GetBucket(wanted.Name, nil)
	return first(
		want(gocb.ErrDocumentNotFound, flushed), want(gocb.ErrBucketNotFound, gone),
		want(gocb.ErrBucketNotFound, manager.DropBucket(wanted.Name, nil)),
		want(gocb.ErrBucketNotFound, manager.FlushBucket(wanted.Name, nil)),
	)
}

// settingsAre compares a bucket's settings, read alone and in the list of all.
func settingsAre(manager *gocb.BucketManager, wanted gocb.BucketSettings) error {
	one, err := manager.GetBucket(wanted.Name, nil)
	if err != nil {
		return err
	}
	all, err := manager.GetAllBuckets(nil)
	if err != nil {
		return err
	}
	for _, got := range []gocb.BucketSettings{*one, all[wanted.Name]} {
		if got.Name != wanted.Name || got.RAMQuotaMB != wanted.RAMQuotaMB || got.BucketType != wanted.BucketType ||
			got.EvictionPolicy != wanted.EvictionPolicy || got.MaxExpiry != wanted.MaxExpiry || got.NumReplicas != wanted.NumReplicas ||
			got.CompressionMode != wanted.CompressionMode || got.FlushEnabled != wanted.FlushEnabled {
			return fmt.Errorf("the settings are %+v, want %+v", got, wanted)
		}
	}
	return nil
}

// users makes a user who may only read, tries what it may and may not, and deletes it.
func users(cluster *gocb.Cluster, a arguments, s *session) (err error) {
	manager := cluster.Users()
	reader := gocb.User{
		Username: fmt.Sprintf("example-go-%d", time.Now().UnixNano()), DisplayName: "A reader", Password: "may only read",
		Roles: []gocb.Role{{Name: "data_reader", Bucket: a.bucket}},
	}
	if err := manager.UpsertUser(reader, nil); err != nil {
		return fmt.Errorf("make a user: %w", err)
	}
	dropped := false
	defer func() {
		if !dropped {
			err = errors.Join(err, manager.DropUser(reader.Username, nil))
		}
	}()
	got, err := manager.GetUser(reader.Username, nil)
	if err != nil {
		return err
	}
	if got.DisplayName != reader.DisplayName || len(got.Roles) != 1 || got.Roles[0].Name != "data_reader" || got.Roles[0].Bucket != a.bucket {
		return fmt.Errorf("the user is %+v, want %+v", got.User, reader)
	}
	bad := reader
	bad.Roles = []gocb.Role{{Name: "no-such-role"}}
	if err := manager.UpsertUser(bad, nil); err == nil {
		return errors.New("a role that does not exist was granted")
	}
	if _, err := s.docs.Upsert(s.key("read"), object{"v": 1}, nil); err != nil {
		return err
	}
	if err := asReader(a, reader, s.key("read")); err != nil {
		return fmt.Errorf("as the reader: %w", err)
	}
	if err := manager.DropUser(reader.Username, nil); err != nil {
		return err
	}
	dropped = true
	_, gone := manager.GetUser(reader.Username, nil)
	return first(
		want(gocb.ErrUserNotFound, gone), want(gocb.ErrUserNotFound, manager.DropUser(reader.Username, nil)), s.drop("read"),
	)
}

// asReader connects as a user who may read and tries both.
func asReader(a arguments, reader gocb.User, key string) error {
	a.user, a.password = reader.Username, reader.Password
	cluster, err := connect(a)
	if err != nil {
		return err
	}
	defer cluster.Close(nil)
	bucket := cluster.Bucket(a.bucket)
	services := []gocb.ServiceType{gocb.ServiceTypeKeyValue}
	if err := bucket.WaitUntilReady(20*time.Second, &gocb.WaitUntilReadyOptions{ServiceTypes: services}); err != nil {
		return err
	}
	docs := bucket.DefaultCollection()
	if _, err := docs.Get(key, nil); err != nil {
		return err
	}
	_, write := docs.Upsert(key, object{}, nil)
	_, remove := docs.Remove(key, nil)
	return first(want(gocb.ErrAuthenticationFailure, write), want(gocb.ErrAuthenticationFailure, remove))
}
