package autoscale

import (
	"math/rand/v2"
	"time"

	"modelservice.dev/local/internal/spec"
)

// Life is how long the number-th node of a spot group lives. It depends on the
// seed and the number alone.
func Life(spot spec.Spot, number int) time.Duration {
	random := rand.New(rand.NewPCG(spot.Seed, uint64(number)))
	return time.Duration(random.ExpFloat64() * float64(spot.MeanLifeSeconds) * float64(time.Second))
}
