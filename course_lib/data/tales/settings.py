"""Where tales happen: for each place its heroes, its spots and sights, its paths, its nights, and who needs help there.

One record a place; items are in order of falling probability, separated by semicolons (see ``tables.py``).
"""

from __future__ import annotations

SETTINGS = """
at: in the forest
heroes: fox; hedgehog; badger; squirrel; bear; rabbit; deer; wolf; charcoal burner
spots: under the old oak; beside a fallen log; at the foot of a hollow tree; near the blackberry bushes
spots: by the mossy well
sights: ferns and foxgloves; the tall pines; the mushroom rings; the sleeping birches; the old stone cross
paths: along the deer track; between the trees; through the hazel wood; over a carpet of leaves
paths: down the woodcutter's lane
nights: the owls called from the pines; the leaves whispered in the dark; a nightingale sang in the thicket
nights: moths danced
needies: raven; fawn; woodcutter; young magpie; piglet; three squirrel pups; tinker

at: by the sea
heroes: crab; seal; otter; fisher; gull; donkey; shell collector
spots: on the wet sand; behind the sand dunes; beside a rock pool; under the old pier; at the bottom of the cliff
sights: the rock pools; the drying nets; seaweed and driftwood; the white cliffs; the striped beach huts
paths: along the shore; over the dunes; through the foam; down the cliff path; across the wet pebbles
nights: the waves hushed the shore; the lighthouse winked; the tide crept up the beach; the wind tasted of salt
needies: pelican; sailor; young dolphin; heron; two ducklings; old diver; tern

at: in the high mountains
heroes: goat; marmot; shepherd; eagle; bear; mule; bell ringer
spots: on the narrow bridge; beside a frozen waterfall; under an overhanging rock; at the top of the pass
spots: near the cairn
sights: gentians and edelweiss; the great grey boulders; the last pine trees; the shepherd's huts; the blue glacier
paths: up the stony path; over the pass; along the ridge; across the snow field; down the zigzag trail
nights: the peaks glowed in the moonlight; an avalanche rumbled far away; the wind sang in the rocks
nights: frost drew flowers
needies: mountaineer; lamb; pedlar; raven; young ibex; three lost hikers; young chough

at: in the village
heroes: baker; tailor; cat; dog; goose; cobbler; schoolteacher; miller
spots: beside the village pump; under the church clock; behind the bakery; at the crossroads; near the market cross
sights: the crooked chimneys; the geranium pots; the washing lines; the sleepy cats; the milk carts
paths: down the cobbled street; across the market square; along the garden walls; past the schoolhouse
paths: over the footbridge
nights: the lamps went out one by one; the church clock counted the hours; somebody played a fiddle; the dogs sighed
needies: old woman; kitten; tinker; beggar; postman; two small children; puppy; fiddler

at: on the river bank
heroes: otter; beaver; frog; water rat; duck; miller; toad
spots: in the reeds; beneath the willow; by the wooden bridge; beside the mill wheel; on a muddy bank
sights: the bulrushes; the water lilies; the dragonflies; the moored barges; the bowing willows
paths: along the river; through the reeds; over the stepping stones; down the towpath; across the weir
nights: the frogs held a concert; the river hummed to itself; mist rose from the water; a fish jumped at the moon
needies: heron; two ducklings; ferryman; swan; wren; old angler; kingfisher

at: on the faraway island
heroes: turtle; parrot; monkey; sailor boy; lizard; goat; castaway; crab
spots: under the tallest palm; on the coral beach; beside the volcano; in a shady cove; at the mouth of a cave
sights: the coconut palms; the coral gardens; hibiscus and orchids; the smoking volcano; the empty shells
paths: along the coral beach; through the palm grove; around the lagoon; up the volcano path; over the warm sand
nights: the stars hung low over the lagoon; the palms rattled; the fireflies lit their lamps
nights: the surf boomed on the reef
needies: pelican; young dolphin; old pirate; two turtle hatchlings; parakeet; pearl diver

at: in the desert
heroes: camel; lizard; jackal; tortoise; merchant; hare; water carrier
spots: at the dry well; in the shade of a palm; behind a red rock; at the edge of the oasis; near an empty tent
sights: the singing dunes; the thorn trees; the date palms; the caravan tents; the bleached bones
paths: across the dunes; along the caravan road; through the stony valley; over the salt flat; toward the oasis
nights: the sand sighed as it cooled; the stars were as thick as salt; a jackal laughed far away; the camp fires sank
needies: old nomad; falcon; young camel; beggar; two lost travellers; desert lark

at: in the walled garden
heroes: mole; hedgehog; gardener; cat; rabbit; toad; mouse
spots: under the rose arch; beside the sundial; behind the compost heap; near the lily pond; at the garden gate
sights: the sweet peas; roses and lavender; the bean rows; the beehives; the pumpkin patch
paths: along the gravel path; between the bean rows; through the rose arch; under the apple trees; around the pond
nights: the roses folded their petals; a cricket tuned its fiddle; the moon silvered the cabbages
nights: snails went to market
needies: robin; leveret; kitten; old gardener; wren; seven bees; blackbird

at: in the harbour town
heroes: cat; sailmaker; gull; fisher; dog; rope maker; cook; ship's boy
spots: on the quay; beside the fish market; under the harbour crane; at the end of the pier; behind the tavern
sights: the tall masts; the herring barrels; the coils of rope; the painted figureheads; the lobster pots
paths: along the quay; past the fish market; up the narrow stairs; between the barrels; through the rope walk
nights: the ships creaked in their sleep; a foghorn moaned; the tavern sang; the harbour lights swam on the water
needies: sailor; old captain; pelican; stowaway; puppy; three cabin boys; tern

at: on the little farm
heroes: pig; donkey; dog; farmer; goose; horse; mouse; milkmaid's pony
spots: behind the barn; beside the duck pond; at the orchard gate; near the haystack; in the turnip field
sights: the haystacks; the turnip rows; the sleepy cows; the scarecrow; the plum trees
paths: across the meadow; along the hedge; through the barley; past the duck pond; down the cart track
nights: the cows breathed softly in the barn; an owl swept over the stubble; the hay smelled sweet; a hen muttered
needies: lamb; calf; swallow; two ducklings; pedlar; old shepherd; puppy

at: in the old castle
heroes: cook; page; mouse; cat; knight; gardener; dragon; owl
spots: on the winding stairs; beside the drawbridge; in the rose courtyard; at the foot of the tower
spots: near the dungeon door
sights: the faded banners; the suits of armour; the stone lions; the candle stubs; the painted kings
paths: across the drawbridge; along the battlements; through the great hall; down the spiral stairs; around the moat
nights: the suits of armour snored; bats flitted round the tower; the candles guttered; a ghost hummed in the hall
needies: old jester; raven; minstrel; prisoner; two pages; young falcon; kitchen maid

at: in the misty marsh
heroes: frog; toad; newt; eel catcher; duck; peat cutter; water rat
spots: on the plank bridge; beside the black pool; among the cattails; at the last dry stone; near the crooked willow
sights: the will-o'-the-wisps; the cotton grass; the black pools; the peat stacks; the nodding cattails
paths: along the plank path; through the cotton grass; from stone to stone; around the black pool; into the mist
nights: lights wandered over the bog; the bittern boomed; the mist lay down to sleep; the toads told old stories
needies: heron; swan; lost child; young bittern; old witch; two ducklings; postman

at: in the far north
heroes: hare; reindeer; walrus; penguin; seal; sledge driver; polar bear; ice fisher
spots: on the frozen lake; beside a snow wall; at the edge of the ice; near the fishing hole; behind a blue iceberg
sights: the snow drifts; the blue icebergs; the sledge tracks; the steaming huts; the dwarf birches
paths: over the ice; through the snow drifts; along the sledge track; across the frozen lake; into the white wind
nights: green lights danced in the sky; the ice groaned; the snow fell without a sound; wolves sang to the moon
needies: snow goose; puppy; old hunter; young whale; two fox cubs; explorer; snowy owl

at: in the green jungle
heroes: monkey; tiger; parrot; elephant; lizard; drummer; tortoise; tapir
spots: under a giant fig tree; beside the waterfall; on the rope bridge; near the ruined temple; by the crocodile pool
sights: the hanging vines; orchids and ferns; the ruined temple; the butterfly clouds; the rubber trees
paths: along the elephant trail; under the vines; over the rope bridge; through the bamboo; up the misty slope
nights: the monkeys quarrelled in their sleep; the rain drummed on the leaves; a tiger coughed; the tree frogs rang
needies: young gibbon; parakeet; explorer; old hermit; hornbill; three bear cubs; flower seller

at: on the edge of the big city
heroes: pigeon; rat; cat; dog; street sweeper; painter; clockmaker; tram driver
spots: under the railway bridge; beside the fountain; at the tram stop; on the museum steps; behind the theatre
sights: the shop windows; the lamp posts; the flower stalls; the tram lines; the tall chimneys
paths: along the canal; across the park; down the noisy street; under the bridges; through the arcade
nights: the trams clanged home; the windows glowed like honey; rain polished the streets
nights: an accordion played somewhere
needies: lost child; sparrow; old clown; flower seller; kitten; two acrobats; postman; violinist

at: in the sunny meadow
heroes: rabbit; hare; mole; pony; mouse; beekeeper; shepherd; goat
spots: beside the brook; under the lone ash tree; near the beehives; by the old stile; at the edge of the corn
sights: the poppies; clover and daisies; the molehills; the beehives; the grazing sheep
paths: through the tall grass; along the brook; over the stile; across the clover; up the gentle hill
nights: the crickets sang; dew settled on the clover; glow-worms lit the grass; a hay-scented wind wandered by
needies: lamb; leveret; lark; colt; old shepherd; seven bees; swallow
"""
