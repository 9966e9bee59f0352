"""Who tales are about: for each kind of hero what it likes to eat and what it does all day.

Items are in order of falling probability, separated by semicolons. ``habits`` are what the hero did every day, in
the past tense and without a pronoun, so that they fit every name.
"""

from __future__ import annotations

HEROES = """
hero: fox
foods: blackberries; cheese; plum jam
habits: chased falling leaves; listened at rabbit holes; practised sneaking on tiptoe
hero: hedgehog
foods: apples; beetles in honey; pears
habits: rolled down the hill in a ball; collected leaves for winter; counted prickles
hero: badger
foods: mushrooms; root soup; acorn bread
habits: swept the burrow; dug new rooms for visitors; polished old lanterns
hero: squirrel
foods: hazelnuts; walnuts; beech nuts
habits: hid nuts and forgot where; leaped from branch to branch; sorted acorns by size
hero: bear
foods: honey; salmon; bilberries
habits: scratched trees and hummed; fished in the cold stream; followed the bees
hero: rabbit
foods: carrots; clover; lettuce
habits: thumped out messages; nibbled the tallest grass; raced against the wind
hero: deer
foods: young leaves; wild apples; moss
habits: drank from the silver brook; watched the sun come up; jumped over fallen trees
hero: wolf
foods: stew; blackberries; bones
habits: practised howling in tune; patrolled the hills; followed old tracks
hero: charcoal burner
foods: bread and bacon; bean soup; onions
habits: watched the smoking kiln; stacked birch logs; whistled to the woodpeckers
hero: crab
foods: seaweed; shrimps; mussels
habits: walked sideways to market; snapped at the foam; decorated shells
hero: seal
foods: herring; squid; mackerel
habits: balanced pebbles; sunbathed on the rocks; dived for lost rings
hero: otter
foods: trout; crayfish; watercress
habits: slid down muddy banks; juggled smooth stones; floated about on the current
hero: fisher
foods: herring; bread and butter; fish soup
habits: mended nets; read the clouds; sang to the fish
hero: gull
foods: chips; sprats; crusts
habits: quarrelled with the wind; stole sandwiches; circled the chimneys
hero: donkey
foods: thistles; carrots; oats
habits: carried baskets uphill; thought about thistles; refused to hurry
hero: shell collector
foods: mussels; oatcakes; plums
habits: combed the tide line; sorted shells by colour; listened to each shell
hero: goat
foods: thyme; old hats; bark
habits: climbed where nobody else dared; tasted the laundry; butted the gate
hero: marmot
foods: sweet roots; clover; dandelions
habits: whistled at strangers; stuffed the nest with hay; slept late in the sun
hero: shepherd
foods: cheese; flat bread; goat milk
habits: counted the sheep; played a bone flute; carved wooden spoons
hero: eagle
foods: trout; smoked ham; bilberries
habits: circled above the peaks; frowned at the valley; tidied the great nest
hero: mule
foods: hay; barley; apples
habits: carried flour over the pass; stopped to admire the view; shook off the flies
hero: bell ringer
foods: dumplings; cheese; cabbage soup
habits: rang the evening bell; oiled the heavy ropes; climbed two hundred steps
hero: baker
foods: warm rolls; honey cake; rye bread
habits: kneaded dough before dawn; dusted the street with flour; shaped buns like stars
hero: tailor
foods: noodle soup; poppy seed cake; plums
habits: threaded tiny needles; stitched buttons on coats; cut velvet by candlelight
hero: cat
foods: cream; sardines; liver
habits: slept on the warmest roof; washed from nose to tail; watched the mouse holes
hero: dog
foods: sausages; bones; porridge
habits: barked at the postman; guarded the gate; buried old slippers
hero: goose
foods: corn; wet grass; cake crumbs
habits: marched up and down; hissed at strangers; gossiped by the pond
hero: cobbler
foods: potato pie; gingerbread; onions
habits: hammered nails into soles; patched old boots; talked to the shoes
hero: schoolteacher
foods: apples; barley soup; toast
habits: cleaned the blackboard; corrected spelling; drew maps of faraway lands
hero: miller
foods: pancakes; oat bread; dumplings
habits: listened to the mill wheel; carried heavy sacks; brushed flour from the cat
hero: beaver
foods: willow bark; aspen twigs; lily roots
habits: gnawed birches; repaired the dam; slapped the water flat
hero: frog
foods: flies; water beetles; duckweed
habits: practised long jumps; sang in the evening choir; sat on the best lily pad
hero: water rat
foods: watercress; picnic pie; radishes
habits: messed about in the reeds; wrote little poems; rowed nowhere at all
hero: duck
foods: bread crusts; duckweed; snails
habits: paddled in circles; stood on one leg; turned upside down to think
hero: toad
foods: slugs; beetles; worms in sauce
habits: sat under a flowerpot; swallowed sadly; gave long speeches
hero: turtle
foods: sea grass; jellyfish; melon
habits: swam around the reef; buried coconuts; basked on a warm stone
hero: parrot
foods: mangoes; sunflower seeds; nuts
habits: repeated rude words; cracked nuts; preened green feathers
hero: monkey
foods: bananas; figs; coconuts
habits: swung from vine to vine; threw coconuts; made faces at the parrots
hero: sailor boy
foods: ship's biscuit; oranges; salt fish
habits: tied clever knots; scrubbed the deck; climbed the palm to look for ships
hero: lizard
foods: crickets; ants; melon seeds
habits: dozed on a hot stone; changed colour for fun; darted after crickets
hero: castaway
foods: coconuts; baked fish; turtle soup
habits: wrote letters in bottles; scratched the days into a rock; built huts of palm leaves
hero: camel
foods: dates; thorny twigs; salt
habits: chewed slowly and judged everyone; carried silk and pepper; knelt in the shade
hero: jackal
foods: dates; leftovers; lizards
habits: trotted after caravans; laughed at nothing; dug in the cool sand
hero: tortoise
foods: cactus flowers; lettuce; figs
habits: walked once around a rock; studied the clouds; pulled in both ears and thought
hero: merchant
foods: lamb with rice; dates; sweet tea
habits: weighed cinnamon; counted copper coins; unrolled carpets for guests
hero: hare
foods: cabbage; willow twigs; dry grass
habits: boxed with shadows; ran zigzag for practice; listened with both ears
hero: water carrier
foods: flat bread; dates; chickpeas
habits: filled the clay jars; walked from tent to tent; sang the water song
hero: mole
foods: worms; parsnips; seed cake
habits: dug long corridors; pushed up neat hills; felt the way by nose
hero: gardener
foods: radishes; bean soup; strawberries
habits: watered the beans; talked to the roses; sharpened the spade
hero: mouse
foods: cheese rind; crumbs; barley
habits: gnawed at the cheese; wove a nest from threads; ran along the walls
hero: sailmaker
foods: fish pie; biscuits; ale
habits: stitched grey canvas; waxed the thread; patched torn sails
hero: rope maker
foods: herring; rye bread; pickles
habits: twisted hemp; walked backward all day; tested every knot
hero: cook
foods: stew; omelette; gingerbread
habits: stirred a copper pot; chopped onions and wept; tasted every sauce
hero: ship's boy
foods: biscuits; oranges; pea soup
habits: polished the brass bell; fed the ship's hens; ran errands for the captain
hero: pig
foods: turnips; apple peel; acorns
habits: rolled in the mud; scratched against the fence; snored in the sun
hero: farmer
foods: bread and cheese; potatoes; bacon
habits: milked the cows; sharpened the scythe; scared crows from the seed
hero: horse
foods: oats; carrots; sugar lumps
habits: pulled the cart; galloped round the field; swished away the flies
hero: milkmaid's pony
foods: apples; hay; mint
habits: pulled the milk cart; knew every gate; nuzzled pockets for sugar
hero: page
foods: roast goose; sugared almonds; bread
habits: carried letters up the tower; polished goblets; practised bowing
hero: knight
foods: mutton pie; roast chestnuts; porridge
habits: scrubbed rusty armour; jousted with a scarecrow; oiled a squeaky helmet
hero: dragon
foods: hot coals; pepper stew; charred toast
habits: warmed the castle baths; counted gold spoons; lit the candles with one breath
hero: owl
foods: moths; seed cake; mushrooms
habits: read by moonlight; asked everyone who they were; dusted the library
hero: newt
foods: tadpoles; pond slime; gnats
habits: wriggled under lily pads; blew bubbles; hid behind wet stones
hero: eel catcher
foods: smoked eel; leeks; black bread
habits: set the wicker traps; poled a flat boat; sniffed the weather
hero: peat cutter
foods: potatoes; bacon; buttermilk
habits: stacked wet peat; leaned on the spade; warmed both hands at the fire
hero: reindeer
foods: lichen; moss; birch leaves
habits: scraped for moss; pulled the red sledge; shook snow from both antlers
hero: walrus
foods: clams; oysters; cod
habits: polished both tusks; boomed at the waves; napped on the ice
hero: penguin
foods: krill; sardines; ice cream
habits: slid downhill on a round belly; shuffled in line; bowed to the neighbours
hero: sledge driver
foods: dried fish; hot tea; reindeer stew
habits: harnessed the dogs; waxed the runners; sang to keep awake
hero: polar bear
foods: salmon; cloudberries; seal biscuits
habits: rolled in fresh snow; waited beside a hole in the ice; swam between the floes
hero: ice fisher
foods: perch; rye bread; cloudberries
habits: drilled holes in the ice; jigged a silver hook; told stories to the kettle
hero: tiger
foods: curry; buffalo cheese; papayas
habits: padded through the bamboo; sharpened all ten claws; practised a soft roar
hero: elephant
foods: sugar cane; bananas; melons
habits: showered in the river; carried logs; remembered every birthday
hero: drummer
foods: rice; roasted bananas; peanuts
habits: drummed the news; stretched new skins; tapped on every table
hero: tapir
foods: fallen fruit; ferns; guavas
habits: waded in the shallows; followed a long nose; hid from the noise
hero: pigeon
foods: crumbs; popcorn; peas
habits: strutted across the square; sat on famous statues; bobbed in time to the music
hero: rat
foods: pizza crusts; bacon; cheese
habits: explored the drains; collected bottle tops; rode on the night tram
hero: street sweeper
foods: soup; pretzels; tea
habits: swept up lost buttons; greeted every lamp post; whistled before sunrise
hero: painter
foods: tomatoes; bread; olives
habits: mixed seven kinds of blue; painted the neighbours; cleaned the brushes
hero: clockmaker
foods: boiled eggs; toast; prunes
habits: wound two hundred clocks; squinted at tiny wheels; ate lunch at noon exactly
hero: tram driver
foods: sandwiches; coffee; peppermints
habits: rang the brass bell; waved to the children; knew all the stops by heart
hero: pony
foods: clover; apples; peppermints
habits: trotted along the fence; rolled in the daisies; dreamed of jumping
hero: beekeeper
foods: honey; pancakes; pears
habits: hummed to the hives; tasted the clover honey; wore a hat with a veil
"""
